"""Running a job on a Ray cluster, for the scripts in `jobs/`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from stn_cluster.cluster.changed_data import say_changed_data
from stn_cluster.cluster.connect import check_served, find_or_start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.preparation import prepare
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.cluster.run_local import STOP_SECONDS
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.signals import interrupts, say_stopping
from stn_cluster.errors import EndedError, UserError
from stn_cluster.queue.jobs import CellState, Job, JobStatus
from stn_cluster.store import Store

GONE_SECONDS = 1.0  # time between checks that a stopping coordinator has ended


def run_on_cluster(job: Job, settings: Settings) -> Generator[JobStatus]:
    """Runs a job on the store's coordinator, which is started if necessary and then stopped.

    Running the same job again resumes it, however it ended before. KeyboardInterrupt and SIGTERM
    stop a coordinator that was started here, with checkpoints of running cells.

    Args:
        job: the job; Ray must be connected.
        settings: settings of a new coordinator.

    Yields:
        The job's status with its cells, repeatedly until it has ended.

    Raises:
        UserError: see `find_or_start`, `check_served` and `prepare`.
    """
    data_root = Path(settings.data_root) if settings.data_root else None
    prepare(job, data_root)
    say_changed_data(job.cells, settings.store)
    if any(item.plugins for item in job.items):
        publish_plugins(job.items, Store.open(settings.store, create=True))
    with interrupts() as interrupted:
        while True:
            client, started_here = find_or_start(settings)
            try:
                check_served(client, settings)
                for status in _statuses(client, job):
                    yield status
                    if interrupted.is_set():
                        raise KeyboardInterrupt
                return
            except EndedError:
                if started_here:  # it has failed repeatedly
                    raise
                time.sleep(GONE_SECONDS)  # the process that had started it has stopped it
            finally:
                if started_here:
                    if interrupted.is_set():
                        say_stopping()
                    with contextlib.suppress(UserError):
                        client.stop(STOP_SECONDS)


def _statuses(client: CoordinatorClient, job: Job) -> Iterator[JobStatus]:
    known = not client.submit(job)
    status = client.status(job.job_id)
    if known and status.ended and status.state is not CellState.SUCCEEDED:
        client.retry(job.job_id)
    yield from client.watch(job.job_id)
