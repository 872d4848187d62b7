"""Embedded Ray: a private Ray instance of this process, for the duration of a run."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from stn_cluster.errors import UserError


@dataclass(frozen=True)
class Resources:
    """Number of workers that this machine can run."""

    workers: int
    gpu: bool  # whether each worker has a GPU


@contextlib.contextmanager
def embedded_ray(workers: int | None, threads_per_worker: int) -> Iterator[Resources]:
    """Starts a private Ray for the block; never connects to a cluster named by the environment.

    While Ray starts, the process has another working folder.

    Args:
        workers: number of workers; None: as many as the machine can run.
        threads_per_worker: arithmetic threads of a worker on a CPU.

    Raises:
        UserError: the machine has fewer GPUs than `workers`.
    """
    import ray

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stn-cluster-"))
        Path(folder, "README").write_text("The working folder of stn-cluster's processes.\n")
        # Ray prints errors of workers to our stdout, even with log_to_driver=False. But stdout is
        # for the table, and the errors are in the attempts' logs.
        stack.enter_context(patch("ray._private.worker.print_to_stdstream", _silently))
        stack.callback(ray.shutdown)
        # Ray adds our working folder to the workers' path, where a user's file could shadow a
        # library, so it starts in an empty one. (A runtime_env could do that, too, but without one
        # Ray pre-starts processes: the first step is nearly two seconds earlier.)
        with absolute_python_path(), contextlib.chdir(folder), minimal_ray():
            ray.init(
                address="local",
                num_cpus=workers,  # None: Ray detects them, and respects a container's limit
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=256 * 2**20,  # bytes; only reports pass through it
            )
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if gpus and workers and workers > gpus:
            raise UserError(f"workers: one per GPU, so at most {gpus} here, not {workers}")
        yield Resources(workers or gpus or _free_cores(threads_per_worker), gpus > 0)


@contextlib.contextmanager
def minimal_ray() -> Iterator[None]:
    """Makes Ray start without dashboard, autoscaler and log monitor within the block, which saves
    two to five seconds.

    Ray has no public setting for it. If a version of Ray has other names for these processes, they
    are started as usual.
    """
    from ray._private import utils
    from ray._private.node import Node

    replacements = [
        (Node, "start_api_server", _silently),
        (Node, "start_monitor", _silently),
        (Node, "start_log_monitor", _silently),
        # As if the dashboard's libraries were not installed: a node's agent then skips them.
        (utils, "get_dashboard_dependency_error", ImportError),
    ]
    with contextlib.ExitStack() as stack:
        for target, name, replacement in replacements:
            if hasattr(target, name):
                stack.enter_context(patch.object(target, name, replacement))
        yield


@contextlib.contextmanager
def absolute_python_path() -> Iterator[None]:
    """Makes PYTHONPATH mean the same folders to processes that start elsewhere, in the block.

    An empty entry, as in 'lib:', is the working folder.
    """
    text = os.environ.get("PYTHONPATH", "")
    if not text:
        yield
        return
    folders = os.pathsep.join(str(Path(f).absolute()) for f in text.split(os.pathsep))
    with patch.dict(os.environ, {"PYTHONPATH": folders}):
        yield


def _silently(*args: object, **kwargs: object) -> None:
    pass


def _free_cores(threads_per_worker: int) -> int:
    """Number of workers for the cores that Ray has detected and this process may use."""
    import ray

    cores = int(ray.cluster_resources()["CPU"])
    if hasattr(os, "sched_getaffinity"):  # only on some systems
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores // threads_per_worker)
