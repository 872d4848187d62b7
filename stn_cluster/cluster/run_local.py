"""Running a job on this machine: coordinator, queue and workers on an embedded Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.changed_data import say_changed_data
from stn_cluster.cluster.embedded_ray import embedded_ray
from stn_cluster.cluster.feasibility import check_machine, cores_per_worker
from stn_cluster.cluster.make_evaluations import check_weights_are_here
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.preparation import check_components
from stn_cluster.cluster.private_ray import lost_processes
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.cluster.rows import stored_results
from stn_cluster.cluster.settings import Settings, make_settings
from stn_cluster.cluster.signals import interrupts, say_stopping
from stn_cluster.cluster.state_folder import check_state_folder, lock_state_folder
from stn_cluster.errors import EndedError, UserError
from stn_cluster.grid import GridConfig
from stn_cluster.private_files import closed_to_others, refuse_writable
from stn_cluster.queue.database import FILE, connect
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, Job, JobStatus
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.queries import unfinished_like
from stn_cluster.registry import prepare_datasets
from stn_cluster.store import Store, is_published, refuse_published
from stn_cluster.thread_binding import binding_remark

if TYPE_CHECKING:
    import pandas as pd

    from stn_cluster.cluster.coordinator_client import CoordinatorClient

    Beside = Callable[[CoordinatorClient, Settings, str], contextlib.AbstractContextManager[None]]

DATA_ROOT = "data"  # default; a full path is sent to workers, which have another working folder
STOP_SECONDS = 120.0  # time for running steps and their checkpoints after an interrupt
TAKEOVER_SECONDS = 10.0  # time for the processes of a killed run to end
HEARTBEAT_SECONDS = 0.5  # shorter than a service's, as a user watches the progress
MAX_FAILED_STARTS = 5  # failed starts in a row after which no worker can be expected to start


def run_grid(
    config: GridConfig | dict[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    force: bool = False,
    progress: bool | None = None,
    watch: Callable[[JobStatus], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Trains the cells of a config that the store does not have yet, on this machine.

    Args:
        config: a `GridConfig`, its fields as a dict, or a YAML file.
        store: the result store's folder or URI; default: results/<config name>.
        force: train all cells again.
        progress: whether progress is shown, on the standard error or as a notebook's output: as a
            matrix, or as lines where that cannot be redrawn; default: on a terminal and in a
            notebook, unless `watch` is given.
        watch: called with the job's status about twice per second.
        settings: data_root, state, workers, threads_per_worker, cells_per_pack,
            checkpoint_seconds, checkpoint_steps; see `stn_cluster.cluster.settings.Settings`.

    Returns:
        Current results of the config's cells: rows of `load_results`.

    Raises:
        UserError: the config, the data or the store is wrong; nothing has been trained.
    """
    from stn_cluster.store import load_results

    job = grid_job(config, data_root=settings.get("data_root"), force=force, store=store)
    store = store or Path("results") / job.name
    run_shown(job, make_settings(store, **settings), progress, watch)
    return load_results(Store.open(store), key=[cell.key for cell in job.cells])


def run_shown(
    job: Job,
    settings: Settings,
    progress: bool | None,
    watch: Callable[[JobStatus], None] | None,
) -> None:
    """Runs a job to its end, and shows its progress: see `run_grid`."""
    from stn_cluster.display.choice import view_of_call

    statuses = run_job(job, settings)
    # The view closes last, as closing the statuses may take time: it stops the workers.
    with (
        view_of_call(progress, watched=watch is not None) as view,
        contextlib.closing(statuses),
    ):
        for status in statuses:
            if view is not None:
                view.update(replace(status, left_out=job.left_out))
            if watch is not None:
                watch(status)


def run_job(job: Job, settings: Settings, beside: Beside | None = None) -> Generator[JobStatus]:
    """Trains a job's cells on an embedded Ray.

    Other jobs in the queue are not touched; if the same job was interrupted, it is resumed.
    KeyboardInterrupt, or closing the iterator, stops the workers at their next step, with
    checkpoints; a second Ctrl-C ends the process. A published store is only read, unless
    nothing is to be trained.

    Args:
        job: the job.
        settings: settings of the run's own service.
        beside: what runs as long as the job does, such as a page: it is given the coordinator's
            client, the service's settings and the job's id. Not used if all results are stored.

    Yields:
        The job's status with its cells, about twice per second until it has ended.

    Raises:
        UserError: the data, the store or the state is wrong, or this machine can never hold a
            worker for one of the cells; nothing has been trained.
    """
    if is_published(settings.store) and job.cells:
        yield _published(job, Store.open(settings.store))
        return
    with interrupts(), closed_to_others(*settings.folders):
        yield from _run_job(job, settings, beside)


def _run_job(job: Job, settings: Settings, beside: Beside | None) -> Generator[JobStatus]:
    data_root = Path(settings.data_root or DATA_ROOT).resolve()
    prepare_datasets(job.tested_cells, data_root)
    job, stored = _look(job, settings)
    # If all results are stored, Ray is not needed.
    if stored is not None and stored.total == len(job.items) and not job.force:
        yield stored
        return
    check_components(job.cells, data_root, job.evaluations)
    say_changed_data(job.cells, settings.store)
    cores = cores_per_worker(job.items, settings)
    remark = binding_remark()
    with (
        embedded_ray(settings.workers, cores) as resources,
        interrupts() as interrupted,  # again, as Ray has handlers of its own
    ):
        own = replace(
            settings,
            data_root=str(data_root) if settings.data_root or data_root.is_dir() else None,
            workers=resources.workers,
            gpu=resources.gpu,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            max_failed_starts=MAX_FAILED_STARTS,
            only_job=job.job_id,
            evaluations_only=not job.cells,
        )
        from stn_cluster.cluster.connect import present_nodes, start

        fewer = check_machine(job.items, own, present_nodes(), asked=settings.workers)
        remarks = (*filter(None, [remark]), *fewer)
        # Nothing is made before, as Ray might have refused to start.
        publish_plugins(job.items, Store.open(settings.store, create=bool(job.cells)))
        client = start(own)
        finished = False
        try:
            client.submit(job)
            with contextlib.nullcontext() if beside is None else beside(client, own, job.job_id):
                for status in client.watch(job.job_id):
                    yield replace(status, waiting=(*remarks, *status.waiting))
                    if interrupted.is_set():
                        raise KeyboardInterrupt
                    if lost := lost_processes():
                        raise EndedError(
                            f"Ray's {', '.join(lost)} has ended (out of memory, or killed): run "
                            "the same again to resume"
                        )
            finished = True
        finally:
            if interrupted.is_set():
                say_stopping()
            # If the job did not finish, its own error must not be hidden by one from stopping.
            with contextlib.nullcontext() if finished else contextlib.suppress(UserError):
                client.stop(STOP_SECONDS)


def _look(job: Job, settings: Settings) -> tuple[Job, JobStatus | None]:
    """Looks at store and state, and makes nothing that is not there yet.

    Returns:
        The job, with the id of an interrupted one, and its status from a store that exists.

    Raises:
        StoreError: one of them cannot be used, or another service holds it; the coordinator will
            lock both, but this is before Ray starts.
    """
    state = Path(settings.state)
    store = None
    for folder in settings.folders:
        refuse_writable(folder)
    with contextlib.ExitStack() as held:
        if Store.is_at(settings.store):
            store = Store.open(settings.store, create=bool(job.cells))
            store.check()
            held.enter_context(store.lock(TAKEOVER_SECONDS))
        else:
            Store.check_place(settings.store)
        if state.is_dir():
            held.enter_context(lock_state_folder(state, TAKEOVER_SECONDS))
        else:
            check_state_folder(state)
        if (state / FILE).exists():
            job = _with_unfinished_id(job, state)
        if store is None:
            return job, None
        known = stored_results(store)
        check_weights_are_here(job.evaluations, store, known)
    return job, _stored(job, known)


def _with_unfinished_id(job: Job, state: Path) -> Job:
    """The job, with the id of an interrupted job with the same content, if there is one."""
    with contextlib.closing(connect(state)) as queue:
        return replace(job, job_id=unfinished_like(queue, job.digest) or job.job_id)


def _stored(job: Job, known: KnownResults) -> JobStatus:
    """Status of a job from the store alone: only with what has a success there."""
    results = [(CellName.of(item), known.current(item)) for item in job.items]
    cells = [
        CellStatus(name, CellState.SUCCEEDED, name.iterations, result.test_error, stored=True)
        for name, result in results
        if result is not None
    ]
    return JobStatus(
        job.job_id,
        CellState.SUCCEEDED,
        {CellState.SUCCEEDED: len(cells)},
        cells=tuple(cells),
        evaluations=sum(status.cell.tested_on is not None for status in cells),
    )


def _published(job: Job, store: Store) -> JobStatus:
    """Status of a job from a published store, to which no results can be added.

    Raises:
        UserError: it lacks some of the cells, or the job has `force`.
    """
    store.check()
    if job.force:
        refuse_published(store.uri)
    stored = _stored(job, stored_results(store))
    if missing := len(job.items) - stored.total:
        raise UserError(
            f"{store.name}: is a published store, and lacks {missing} of these {len(job.items)} "
            "cells; name another with --store to train them"
        )
    return stored
