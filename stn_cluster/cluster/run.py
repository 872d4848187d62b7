"""Running a grid from Python or the command line: coordinator, queue and workers in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.embedded import Machine, embedded_ray
from stn_cluster.cluster.grid_job import grid_job
from stn_cluster.cluster.history import stored_ends
from stn_cluster.cluster.job import CellName, CellStatus, Job, JobStatus, State
from stn_cluster.cluster.queue import Queue
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.state_folder import hold
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.registry import lookup

if TYPE_CHECKING:
    import pandas as pd

    from stn_cluster.store import Store

STOP_SECONDS = 120.0  # for the running steps and their checkpoints, when interrupted
LET_GO_SECONDS = 10.0  # in which the processes of a killed run notice and end
BEAT_SECONDS = 0.5  # of workers: somebody is watching
STILLBORN = 5  # workers in a row that do not start, and then neither will the next
STATE_FOLDER = "queue"  # of a local store
DEFAULT_MACHINE = Machine()
Watch = Callable[[JobStatus], None]


def run_grid(
    config: GridConfig | dict[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    machine: Machine = DEFAULT_MACHINE,
    force: bool = False,
    watch: Watch | None = None,
) -> pd.DataFrame:
    """Trains the cells of a config that the store does not hold yet, on this machine.

    Args:
        config: a `GridConfig`, its fields as a dict, or a YAML file.
        store: the result store's folder or URI; default: results/<config name>.
        machine: workers and paths.
        force: train all cells anew.
        watch: called with the job's status about twice a second.

    Returns:
        The current result of each of the config's cells: rows of `load_results`.

    Raises:
        UserError: the config, the data or the store is wrong; nothing has been trained.
    """
    from stn_cluster.store import load_results

    job = grid_job(config, force=force)
    store = store or Path("results") / job.name
    run_job(job, str(store), machine=machine, watch=watch)
    return load_results(store, key=[cell.key for cell in job.cells])


def run_job(
    job: Job, store: str, *, machine: Machine = DEFAULT_MACHINE, watch: Watch | None = None
) -> JobStatus:
    """Trains a job's cells on an embedded Ray; see `run_grid`.

    What else the queue holds is left alone, but the same job that was interrupted is gone on with.
    KeyboardInterrupt stops the workers at their next step, with checkpoints, and is raised again.
    A published store is only looked at.

    Returns:
        The job when it has ended, with its cells.

    Raises:
        UserError: see `run_grid`.
    """
    from stn_cluster.store import Store, is_published

    watch = watch or _ignore
    _check(machine, store)
    if is_published(store):
        published = _published(job, Store.open(store))
        watch(published)
        return published
    if machine.state is not None:
        with hold(Path(machine.state), LET_GO_SECONDS):
            pass
    data_root = Path(machine.data_root).resolve() if machine.data_root else None
    prepare(job.cells, data_root)
    opened = Store.open(store, create=True)
    opened.check()
    local = opened.local_path
    state = Path(machine.state or (local or Path(opened.uri)) / STATE_FOLDER)
    # The coordinator will hold both: where another service does, say so before Ray starts.
    with opened.lock(LET_GO_SECONDS), hold(state, LET_GO_SECONDS):
        job = _or_unfinished(job, state)
    # What is all there needs no Ray.
    if not job.force and (stored := _stored(job, opened)).total == len(job.cells):
        watch(stored)
        return stored
    plugins = sorted({module for cell in job.cells for module in cell.plugins})
    with embedded_ray(machine, plugins) as machinery:
        settings = Settings(
            store=str(local.resolve()) if local else opened.uri,
            state=str(state.resolve()),
            data_root=str(data_root) if data_root else None,
            workers=machinery.workers,
            gpu=machinery.gpu,
            threads_per_worker=machine.threads_per_worker,
            cells_per_pack=machine.cells_per_pack,
            checkpoint_seconds=machine.checkpoint_seconds,
            checkpoint_steps=machine.checkpoint_steps,
            beat_seconds=BEAT_SECONDS,
            give_up_after=STILLBORN,
            only_job=job.job_id,
        )
        return _run(job, settings, watch, machinery.interrupted)


def prepare(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Checks, or fetches, the files of every data set that the cells use.

    Raises:
        UserError: they are not to be had, or damaged.
    """
    for name in dict.fromkeys(cell.dataset for cell in cells):
        check = lookup("dataset", name).load_prepare()
        if check is not None:
            check(data_root)


def _check(machine: Machine, store: str) -> None:
    machine.check()
    if machine.state is None and "://" in store and not store.startswith("file:"):
        from stn_cluster.store import shown

        raise UserError(f"{shown(store)}: a store that is not on this machine needs --state FOLDER")


def _or_unfinished(job: Job, state: Path) -> Job:
    """The job under the id of one that asks for the same and was interrupted, if there is one."""
    queue = Queue(state)
    try:
        return replace(job, job_id=queue.unfinished_like(job) or job.job_id)
    finally:
        queue.close()


def _run(job: Job, settings: Settings, watch: Watch, interrupted: Event) -> JobStatus:
    from stn_cluster.cluster.service import start

    client = start(settings)
    try:
        client.submit(job)
        for status in client.watch(job.job_id):
            watch(status)
            if interrupted.is_set():
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        # Whatever comes of stopping (the store may be out of reach), it was interrupted.
        with contextlib.suppress(UserError):
            client.stop(STOP_SECONDS)
        raise
    client.stop(STOP_SECONDS)
    return status


def _ignore(status: JobStatus) -> None:
    pass


def _stored(job: Job, store: Store) -> JobStatus:
    """The job as the store has it: with those of its cells that are there."""
    ends = stored_ends(store)
    found = [(cell, ends.success(cell.key)) for cell in job.cells]
    cells = [
        CellStatus(CellName.of(cell), State.SUCCEEDED, cell.iterations, end.test_error, stored=True)
        for cell, end in found
        if end is not None
    ]
    counts = {State.SUCCEEDED: len(cells)}
    return JobStatus(job.job_id, State.SUCCEEDED, counts, cells=tuple(cells))


def _published(job: Job, store: Store) -> JobStatus:
    """The job as a published store has it, which nothing is trained into.

    Raises:
        UserError: it lacks some of the cells, or they are to be trained anew.
    """
    from stn_cluster.store import refuse_published

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
