"""Running a job on a Ray cluster from a script on it: `jobs/` has the scripts."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from stn_cluster.cluster.client import Client
from stn_cluster.cluster.embedded import Machine, interrupts
from stn_cluster.cluster.job import Job, JobStatus, State
from stn_cluster.cluster.run import STATE_FOLDER, STOP_SECONDS, Watch, prepare
from stn_cluster.cluster.service import find, is_running, start
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, UserError
from stn_cluster.registry import plugin_path
from stn_cluster.store import Store, refuse_published, shown

GONE_SECONDS = 1.0  # between two looks whether a coordinator that ends has gone
REACH_SECONDS = 5.0  # for a connection to the cluster's head


@contextlib.contextmanager
def cluster(address: str = "auto", plugins: Sequence[str] = ()) -> Iterator[None]:
    """A connection to a Ray cluster; its workers can import the plug-ins.

    Raises:
        UserError: there is no cluster at the address.
    """
    _check_reachable(address)
    environment: dict[str, Any] = {}
    if plugins:
        environment["py_modules"] = sorted({str(plugin_path(module)) for module in plugins})
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level="error", runtime_env=environment
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes to reach an address where nobody listens."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")  # IPv6
    if not colon or not port.isdecimal() or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300]
    return UserError(
        f"{address}: no Ray cluster to connect to; start one with `ray start --head` ({reason})"
    )


def make_settings(
    store: str, state: Path | None, data_root: Path | None = None, **others: Any
) -> Settings:
    """A service's settings, places by their full paths: its processes run in folders of their own.

    Args:
        store: a folder or URI.
        state: default: a folder in a local store.
        data_root: of data sets that live in files.
        others: of `Settings`.

    Raises:
        UserError: the store is a published one, or not on a disk and there is no `state`; its URI
            is not one; or a value makes no sense.
    """
    Machine(
        workers=others.get("workers"),
        threads_per_worker=others.get("threads_per_worker", 1),
        cells_per_pack=others.get("cells_per_pack"),
        checkpoint_seconds=others.get("checkpoint_seconds", 30.0),
    ).check()
    local = Store.place(store)
    if state is None:
        if local is None:
            raise UserError(f"{shown(store)}: a store that is not on a disk needs --state FOLDER")
        state = local / STATE_FOLDER
    refuse_published(store)
    return Settings(
        store=str(local.resolve()) if local else store,
        state=str(state.resolve()),
        data_root=str(data_root.resolve()) if data_root else None,
        **others,
    )


def with_gpus(settings: Settings, gpu: bool | None = None) -> Settings:
    """The settings, with a GPU for each worker if that is asked for or, by default, a node has one.

    Ray must be connected.
    """
    return replace(settings, gpu=ray.cluster_resources().get("GPU", 0) > 0 if gpu is None else gpu)


def run_on_cluster(job: Job, settings: Settings, watch: Watch) -> JobStatus:
    """Runs a job through the store's coordinator, which is started if need be, and then stopped.

    The same job again is gone on with, whatever became of the last one. KeyboardInterrupt and
    SIGTERM stop a coordinator that was started here: running cells are checkpointed.

    Args:
        job: what to run; Ray must be connected.
        settings: of a coordinator that has to be started.
        watch: called with the job's status, again and again.

    Returns:
        The job when it has ended, with its cells.

    Raises:
        UserError: see `start`; or a data set is not there.
    """
    prepare(job.cells, Path(settings.data_root) if settings.data_root else None)
    with interrupts() as interrupted:
        while True:
            mine, client = not is_running(settings.store), None
            try:
                client = start(settings)
                for status in _watch(client, job):
                    watch(status)
                    if interrupted.is_set():
                        raise KeyboardInterrupt
                return status
            except EndedError:
                mine = False  # whoever had started it has stopped it
                time.sleep(GONE_SECONDS)
            finally:
                if mine:
                    with contextlib.suppress(UserError):
                        (client or find(settings.store)).stop(STOP_SECONDS)


def _watch(client: Client, job: Job) -> Iterator[JobStatus]:
    known = not client.submit(job)
    status = client.status(job.job_id)
    if known and status.ended and status.state is not State.SUCCEEDED:
        client.retry(job.job_id)
    yield from client.watch(job.job_id)
