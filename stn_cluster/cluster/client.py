"""Running a grid from Python or the command line, on an embedded Ray of this process's own."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.history import stored_cells
from stn_cluster.cluster.job import Job, JobStatus, done, new_job_id
from stn_cluster.cluster.state_folder import hold
from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.registry import lookup, plugin_path, resolve

if TYPE_CHECKING:
    import pandas as pd

    from stn_cluster.cluster.coordinator import Settings
    from stn_cluster.store import Store

POLL_SECONDS = 0.5
STOP_SECONDS = 120.0  # for the running steps and their checkpoints, when interrupted
LET_GO_SECONDS = 10.0  # in which the processes of a killed run notice and end
STATE_FOLDER = "queue"  # of a local store
Watch = Callable[[JobStatus], None]


@dataclass(frozen=True)
class Machine:
    """What belongs to the machine and not to the experiment."""

    data_root: str | Path | None = None  # where data sets that live in files have them
    state: str | Path | None = None  # local folder that one service holds; default: in the store
    workers: int | None = None  # default: one a GPU, or one a core
    threads_per_worker: int = 1  # of arithmetic, on a CPU
    checkpoint_seconds: float = 30.0  # between checkpoints of running cells


def run_grid(
    config: GridConfig | dict[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    machine: Machine = Machine(),
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

    folder = Path(config).parent if isinstance(config, str | Path) else None
    if isinstance(config, dict):
        config = parse_config(config)
    elif not isinstance(config, GridConfig):
        config = load_config(config)
    cells = resolve(config, source=config.name, folder=folder)
    store = store or Path("results") / config.name
    run_cells(
        cells,
        str(store),
        machine=machine,
        name=config.name,
        config=config.model_dump_json(exclude_defaults=True),
        folder=folder,
        force=force,
        watch=watch,
    )
    return load_results(store, key=[cell.key for cell in cells])


def run_cells(
    cells: Sequence[Cell],
    store: str,
    *,
    machine: Machine = Machine(),
    name: str = "cells",
    config: str = "{}",
    folder: Path | None = None,
    force: bool = False,
    watch: Watch | None = None,
) -> JobStatus:
    """Trains cells on an embedded Ray; see `run_grid`.

    KeyboardInterrupt stops the workers at their next step, with checkpoints, and is raised again.

    Returns:
        The job when it has ended.

    Raises:
        UserError: see `run_grid`.
    """
    from stn_cluster.cluster.coordinator import Settings
    from stn_cluster.store import Store

    data_root = Path(machine.data_root).resolve() if machine.data_root else None
    _check(cells, machine, store, data_root)
    opened = Store.open(store, create=True)
    opened.check()
    local = opened.local_path
    state = Path(machine.state or (local or Path(opened.uri)) / STATE_FOLDER)
    # The coordinator will hold both: where another service does, say so before Ray starts.
    with opened.lock(LET_GO_SECONDS), hold(state, LET_GO_SECONDS):
        pass
    place = str(folder.resolve()) if folder else None
    job = Job(new_job_id(name), tuple(cells), config=config, folder=place, force=force)
    if not force and (stored := _stored(job, opened)):
        (watch or _ignore)(stored)
        return stored
    plugins = sorted({module for cell in cells for module in cell.plugins})
    with _embedded_ray(machine, plugins) as (workers, gpu):
        settings = Settings(
            store=str(local.resolve()) if local else opened.uri,
            state=str(state.resolve()),
            data_root=str(data_root) if data_root else None,
            workers=workers,
            gpu=gpu,
            threads_per_worker=machine.threads_per_worker,
            checkpoint_seconds=machine.checkpoint_seconds,
        )
        return _run(job, settings, watch or _ignore)


def prepare(cells: Sequence[Cell], data_root: Path | None) -> None:
    """Checks, or fetches, the files of every data set that the cells use.

    Raises:
        UserError: they are not to be had, or damaged.
    """
    for name in dict.fromkeys(cell.dataset for cell in cells):
        check = lookup("dataset", name).load_prepare()
        if check is not None:
            check(data_root)


def _check(cells: Sequence[Cell], machine: Machine, store: str, data_root: Path | None) -> None:
    if machine.workers is not None and machine.workers < 1:
        raise UserError(f"workers: at least 1, not {machine.workers}")
    if machine.threads_per_worker < 1:
        raise UserError(f"threads per worker: at least 1, not {machine.threads_per_worker}")
    if machine.checkpoint_seconds <= 0:
        raise UserError(f"checkpoint seconds: more than 0, not {machine.checkpoint_seconds}")
    if machine.state is None and "://" in store and not store.startswith("file:"):
        raise UserError(f"{store}: a store that is not on this machine needs --state FOLDER")
    if machine.state is not None:
        with hold(Path(machine.state), LET_GO_SECONDS):
            pass
    prepare(cells, data_root)


def _run(job: Job, settings: Settings, watch: Watch) -> JobStatus:
    import ray

    from stn_cluster.cluster.coordinator import Coordinator

    coordinator = Coordinator.remote(settings)  # type: ignore[attr-defined]
    try:
        ray.get(coordinator.open.remote())
        status: JobStatus = ray.get(coordinator.submit.remote(job))
        try:
            while not status.ended:
                watch(status)
                time.sleep(POLL_SECONDS)
                status = ray.get(coordinator.status.remote())
        except KeyboardInterrupt:
            # Whatever comes of stopping (the store may be out of reach), it was interrupted.
            with contextlib.suppress(ray.exceptions.RayError, UserError):
                ray.get(coordinator.stop.remote(), timeout=STOP_SECONDS)
                watch(ray.get(coordinator.status.remote()))
            raise
        watch(status)
        ray.get(coordinator.close.remote())
        return status
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):  # ours; Ray's own text has a traceback around it
            raise error.cause from None
        raise


def _ignore(status: JobStatus) -> None:
    pass


def _stored(job: Job, store: Store) -> JobStatus | None:
    """The job as the store has it, if all of its cells are there: then Ray need not start."""
    found = stored_cells(job.cells, store)
    if not all(done(status.state) for status in found):
        return None
    return JobStatus(job.job_id, found)


@contextlib.contextmanager
def _embedded_ray(machine: Machine, plugins: list[str]) -> Iterator[tuple[int, bool]]:
    """A Ray of our own, never one that the environment names, for as long as the block lasts.

    Yields how many workers to use, and whether each has a GPU.
    """
    import ray

    folder = tempfile.TemporaryDirectory(prefix="stn-cluster-")
    Path(folder.name, "README").write_text("The working folder of stn-cluster's processes.\n")
    # A working folder of their own: else Ray puts the user's first on their path, where any file
    # may stand in for a library, and an edited plug-in for the one that is shipped.
    environment: dict[str, Any] = {"working_dir": folder.name}
    if plugins:
        environment["py_modules"] = sorted({str(plugin_path(module)) for module in plugins})
    ray.init(
        address="local",
        num_cpus=machine.workers,  # else what Ray finds: it knows a container's limit
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=256 * 2**20,  # bytes; only reports pass through it
        runtime_env=environment,
    )
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if gpus and machine.workers and machine.workers > gpus:
            raise UserError(f"workers: one a GPU, so at most {gpus} here, not {machine.workers}")
        with _sigterm_interrupts():
            yield machine.workers or gpus or _free_cores(machine), gpus > 0
    finally:
        ray.shutdown()
        folder.cleanup()


def _free_cores(machine: Machine) -> int:
    """How many workers the cores are good for: those that Ray found and that we may run on."""
    import ray

    cores = int(ray.cluster_resources()["CPU"])
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores // machine.threads_per_worker)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: running work is checkpointed. Ray's own handler just exits."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
