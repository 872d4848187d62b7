"""A Ray of this process's own, for as long as a run lasts."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stn_cluster.errors import UserError
from stn_cluster.registry import plugin_path


@dataclass(frozen=True)
class Machine:
    """What belongs to the machine and not to the experiment."""

    data_root: str | Path | None = None  # where data sets that live in files have them
    state: str | Path | None = None  # local folder that one service holds; default: in the store
    workers: int | None = None  # default: one a GPU, or one a core
    threads_per_worker: int = 1  # of arithmetic, on a CPU
    cells_per_pack: int | None = None  # at most; default: by the device and the cell
    checkpoint_seconds: float = 30.0  # between checkpoints of running cells
    checkpoint_steps: int | None = None  # or every so many steps, if that comes first

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers: at least 1, not {self.workers}")
        if self.threads_per_worker < 1:
            raise UserError(f"threads per worker: at least 1, not {self.threads_per_worker}")
        if self.cells_per_pack is not None and self.cells_per_pack < 1:
            raise UserError(f"cells per pack: at least 1, not {self.cells_per_pack}")
        if self.checkpoint_seconds <= 0:
            raise UserError(f"checkpoint seconds: more than 0, not {self.checkpoint_seconds}")
        if self.checkpoint_steps is not None and self.checkpoint_steps < 1:
            raise UserError(f"checkpoint steps: at least 1, not {self.checkpoint_steps}")


@dataclass(frozen=True)
class Embedded:
    """What the machine is good for."""

    workers: int
    gpu: bool  # each worker has one
    interrupted: threading.Event  # also where the KeyboardInterrupt itself was lost


@contextlib.contextmanager
def embedded_ray(machine: Machine, plugins: Sequence[str]) -> Iterator[Embedded]:
    """A Ray of our own, never one that the environment names, for as long as the block lasts.

    SIGTERM interrupts the block as Ctrl-C does. While Ray starts, the process is in another folder.
    """
    import ray

    folder = tempfile.TemporaryDirectory(prefix="stn-cluster-")
    Path(folder.name, "README").write_text("The working folder of stn-cluster's processes.\n")
    environment: dict[str, Any] = {}
    if plugins:
        modules = sorted({str(plugin_path(module).absolute()) for module in plugins})
        # The folder keeps the script's own off their path, with plug-ins edited since.
        environment = {"working_dir": folder.name, "py_modules": modules}
    # Ray puts our working folder on their path, where any of a user's files would stand in for a
    # library: so be it an empty one. (An environment would do that, too, but without one Ray starts
    # processes before they are asked for: nearly two seconds less to the first step.)
    with contextlib.chdir(folder.name), only_what_trains():
        ray.init(
            address="local",
            num_cpus=machine.workers,  # else what Ray finds: it knows a container's limit
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=256 * 2**20,  # bytes; only reports pass through it
            runtime_env=environment,
        )
    # It prints what befalls its workers to our standard output, whatever log_to_driver says: there
    # goes the table, and the attempts' logs have it.
    ray._private.worker.print_to_stdstream = _silently
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if gpus and machine.workers and machine.workers > gpus:
            raise UserError(f"workers: one a GPU, so at most {gpus} here, not {machine.workers}")
        with interrupts() as interrupted:
            workers = machine.workers or gpus or _free_cores(machine)
            yield Embedded(workers, gpus > 0, interrupted)
    finally:
        ray.shutdown()
        folder.cleanup()


@contextlib.contextmanager
def only_what_trains() -> Iterator[None]:
    """Ray starts without the processes that only a cluster's people need: its dashboard, the
    autoscaler, and what copies the workers' output. With them it starts two to five seconds later.

    There is no public setting for it. What a version of Ray does not know by these names it starts.
    """
    from ray._private import utils
    from ray._private.node import Node

    instead = [
        (Node, "start_api_server", _silently),
        (Node, "start_monitor", _silently),
        (Node, "start_log_monitor", _silently),
        # As if the dashboard's libraries were not there: a node's agent does without them then.
        (utils, "get_dashboard_dependency_error", ImportError),
    ]
    with contextlib.ExitStack() as stack:
        for place, name, other in instead:
            if hasattr(place, name):
                stack.enter_context(patch.object(place, name, other))
        yield


def _silently(*said: object, **how: object) -> None:
    pass


def _free_cores(machine: Machine) -> int:
    """How many workers the cores are good for: those that Ray found and that we may run on."""
    import ray

    cores = int(ray.cluster_resources()["CPU"])
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores // machine.threads_per_worker)


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """SIGTERM does what Ctrl-C does: running work is checkpointed. Ray's own handler just exits.

    The event is set by either. An exception from a signal can be lost, where it is raised in a
    destructor of Ray's say; the event is not.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may set handlers
        return

    def interrupt(signum: int, frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, interrupt) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
