"""Embedded Ray: a private Ray instance of this process, for the duration of a run."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stn_cluster.registry import plugin_path


@dataclass(frozen=True)
class Resources:
    """Number of workers that this machine can run."""

    workers: int
    gpu: bool  # whether each worker has a GPU


@contextlib.contextmanager
def embedded_ray(
    workers: int | None, cores_per_worker: int, plugins: Sequence[str] = ()
) -> Iterator[Resources]:
    """Starts a private Ray for the block; never connects to a cluster named by the environment.

    While Ray starts, the process has another working folder.

    Args:
        workers: number of workers; None: as many as the machine can run.
        cores_per_worker: number of cores that a worker takes at most, at least 1.
        plugins: modules that workers can import.
    """
    import ray

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stn-cluster-"))
        Path(folder, "README").write_text("The working folder of stn-cluster's processes.\n")
        environment: dict[str, Any] = {}
        if plugins:
            modules = sorted({str(plugin_path(module).absolute()) for module in plugins})
            # Replaces the script's folder on the workers' path, as its plug-ins may be edited.
            environment = {"working_dir": folder, "py_modules": modules}
        # Ray prints errors of workers to our stdout, even with log_to_driver=False. But stdout is
        # for the table, and the errors are in the attempts' logs.
        stack.enter_context(patch("ray._private.worker.print_to_stdstream", _silently))
        stack.callback(ray.shutdown)
        # Ray adds our working folder to the workers' path, where a user's file could shadow a
        # library, so it starts in an empty one. (A runtime_env could do that, too, but without one
        # Ray pre-starts processes: the first step is nearly two seconds earlier.)
        with contextlib.chdir(folder), minimal_ray():
            ray.init(
                address="local",
                num_cpus=_logical_cores(workers, cores_per_worker),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=256 * 2**20,  # bytes; only reports pass through it
                runtime_env=environment,
            )
        gpus = int(ray.cluster_resources().get("GPU", 0))
        yield Resources(workers or gpus or _free_cores(cores_per_worker), gpus > 0)


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


def _silently(*args: object, **kwargs: object) -> None:
    pass


def _logical_cores(workers: int | None, cores_per_worker: int) -> int | None:
    """Number of cores that Ray hands out; None: Ray detects them, and respects a container's limit.

    A user may ask for more workers than there are cores, but not for cores that do not exist.
    """
    if workers is None or (cores_per_worker > 1 and workers * cores_per_worker > _cores()):
        return None
    return workers * cores_per_worker


def _cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # only on some systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _free_cores(cores_per_worker: int) -> int:
    """Number of workers for the cores that Ray has detected and this process may use."""
    import ray

    cores = min(int(ray.cluster_resources()["CPU"]), _cores())
    return max(1, cores // cores_per_worker)
