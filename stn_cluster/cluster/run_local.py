"""A job on this machine: coordinator, queue and workers in one go, on an embedded Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.embedded_ray import embedded_ray
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.rows import stored_results
from stn_cluster.cluster.settings import Settings, make_settings
from stn_cluster.cluster.signals import interrupts
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import UserError
from stn_cluster.grid import GridConfig
from stn_cluster.queue.database import connect
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, Job, JobStatus
from stn_cluster.queue.queries import unfinished_like
from stn_cluster.registry import prepare_datasets
from stn_cluster.store import Store, is_published, refuse_published

if TYPE_CHECKING:
    import pandas as pd

STOP_SECONDS = 120.0  # for the running steps and their checkpoints, when interrupted
TAKEOVER_SECONDS = 10.0  # in which the processes of a killed run notice and end
HEARTBEAT_SECONDS = 0.5  # of workers: somebody is watching
MAX_FAILED_STARTS = 5  # workers in a row that do not start, and then neither will the next


def run_grid(
    config: GridConfig | dict[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    force: bool = False,
    watch: Callable[[JobStatus], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Trains the cells of a config that the store does not hold yet, on this machine.

    Args:
        config: a `GridConfig`, its fields as a dict, or a YAML file.
        store: the result store's folder or URI; default: results/<config name>.
        force: train all cells anew.
        watch: called with the job's status about twice a second.
        settings: of the machine: data_root, state, workers, threads_per_worker, cells_per_pack,
            checkpoint_seconds, checkpoint_steps; see `stn_cluster.Settings`.

    Returns:
        The current result of each of the config's cells: rows of `load_results`.

    Raises:
        UserError: the config, the data or the store is wrong; nothing has been trained.
    """
    from stn_cluster.store import load_results

    job = grid_job(config, force=force)
    store = store or Path("results") / job.name
    with contextlib.closing(run_job(job, make_settings(store, **settings))) as statuses:
        for status in statuses:
            if watch is not None:
                watch(status)
    return load_results(store, key=[cell.key for cell in job.cells])


def run_job(job: Job, settings: Settings) -> Generator[JobStatus]:
    """Trains a job's cells on an embedded Ray.

    What else the queue holds is left alone, but the same job that was interrupted is resumed.
    KeyboardInterrupt, or closing the iterator, stops the workers at their next step, with
    checkpoints. A published store is only looked at.

    Args:
        job: what to run.
        settings: of the service, which is the run's own.

    Yields:
        The job's status with its cells, about twice a second; the last when it has ended.

    Raises:
        UserError: the data, the store or the state is wrong; nothing has been trained.
    """
    if is_published(settings.store):
        yield _published(job, Store.open(settings.store))
        return
    data_root = Path(settings.data_root) if settings.data_root else None
    state = Path(settings.state)
    prepare_datasets(job.cells, data_root)
    store = Store.open(settings.store, create=True)
    store.check()
    # The coordinator will hold both: where another service does, say so before Ray starts.
    with store.lock(TAKEOVER_SECONDS), lock_state_folder(state, TAKEOVER_SECONDS):
        job = _or_unfinished(job, state)
    # What is all there needs no Ray.
    if not job.force and (stored := _stored(job, store)).total == len(job.cells):
        yield stored
        return
    plugins = sorted({module for cell in job.cells for module in cell.plugins})
    with (
        embedded_ray(settings.workers, settings.threads_per_worker, plugins) as resources,
        interrupts() as interrupted,
    ):
        own = replace(
            settings,
            workers=resources.workers,
            gpu=resources.gpu,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_failed_starts=MAX_FAILED_STARTS,
            only_job=job.job_id,
        )
        from stn_cluster.cluster.connect import start

        client = start(own)
        finished = False
        try:
            client.submit(job)
            for status in client.watch(job.job_id):
                yield status
                if interrupted.is_set():
                    raise KeyboardInterrupt
            finished = True
        finally:
            # Where it did not finish, that is told, whatever comes of stopping.
            with contextlib.nullcontext() if finished else contextlib.suppress(UserError):
                client.stop(STOP_SECONDS)


def _or_unfinished(job: Job, state: Path) -> Job:
    """The job under the id of one that asks for the same and was interrupted, if there is one."""
    with contextlib.closing(connect(state)) as queue:
        return replace(job, job_id=unfinished_like(queue, job.digest) or job.job_id)


def _stored(job: Job, store: Store) -> JobStatus:
    """The job as the store has it: with those of its cells that are there."""
    known = stored_results(store)
    found = [(cell, known.success(cell.key)) for cell in job.cells]
    cells = [
        CellStatus(
            CellName.of(cell),
            CellState.SUCCEEDED,
            cell.iterations,
            result.test_error,
            stored=True,
        )
        for cell, result in found
        if result is not None
    ]
    counts = {CellState.SUCCEEDED: len(cells)}
    return JobStatus(job.job_id, CellState.SUCCEEDED, counts, cells=tuple(cells))


def _published(job: Job, store: Store) -> JobStatus:
    """The job as a published store has it, which nothing is trained into.

    Raises:
        UserError: it lacks some of the cells, or they are to be trained anew.
    """
    store.check()
    if job.force:
        refuse_published(store.uri)
    stored = _stored(job, store)
    if lacking := len(job.cells) - stored.total:
        raise UserError(
            f"{store.name}: is a published store, and lacks {lacking} of these {len(job.cells)} "
            "cells; name another with --store to train them"
        )
    return stored
