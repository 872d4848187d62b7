"""Embedded Ray: one of this process's own, for as long as a run lasts."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stn_cluster.errors import UserError
from stn_cluster.registry import plugin_path


@dataclass(frozen=True)
class Resources:
    """Workers that this machine is good for."""

    workers: int
    gpu: bool  # each worker has one


@contextlib.contextmanager
def embedded_ray(
    workers: int | None, threads_per_worker: int, plugins: Sequence[str] = ()
) -> Iterator[Resources]:
    """A Ray of our own, never one that the environment names, for as long as the block lasts.

    While Ray starts, the process is in another folder.

    Args:
        workers: how many are wanted; None: as many as the machine is good for.
        threads_per_worker: of arithmetic, on a CPU.
        plugins: modules that its workers can import.

    Raises:
        UserError: the machine has fewer GPUs than workers are wanted.
    """
    import ray

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stn-cluster-"))
        Path(folder, "README").write_text("The working folder of stn-cluster's processes.\n")
        environment: dict[str, Any] = {}
        if plugins:
            modules = sorted({str(plugin_path(module).absolute()) for module in plugins})
            # The folder keeps the script's own off their path, with plug-ins edited since.
            environment = {"working_dir": folder, "py_modules": modules}
        # Ray prints what befalls its workers to our standard output, whatever log_to_driver says:
        # stdout is for the table, and the attempts' logs have it.
        stack.enter_context(patch("ray._private.worker.print_to_stdstream", _silently))
        stack.callback(ray.shutdown)
        # Ray puts our working folder on their path, where any of a user's files would stand in for
        # a library: so be it an empty one. (An environment would do that, too, but without one Ray
        # starts processes before they are asked for: nearly two seconds less to the first step.)
        with contextlib.chdir(folder), minimal_ray():
            ray.init(
                address="local",
                num_cpus=workers,  # else what Ray finds: it knows a container's limit
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=256 * 2**20,  # bytes; only reports pass through it
                runtime_env=environment,
            )
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if gpus and workers and workers > gpus:
            raise UserError(f"workers: one a GPU, so at most {gpus} here, not {workers}")
        yield Resources(workers or gpus or _free_cores(threads_per_worker), gpus > 0)


@contextlib.contextmanager
def minimal_ray() -> Iterator[None]:
    """Within the block, Ray starts without the processes that only a cluster's people need: its
    dashboard, the autoscaler, and what copies the workers' output. With them it starts two to five
    seconds later.

    There is no public setting for it. What a version of Ray does not know by these names it starts.
    """
    from ray._private import utils
    from ray._private.node import Node

    replacements = [
        (Node, "start_api_server", _silently),
        (Node, "start_monitor", _silently),
        (Node, "start_log_monitor", _silently),
        # As if the dashboard's libraries were not there: a node's agent does without them then.
        (utils, "get_dashboard_dependency_error", ImportError),
    ]
    with contextlib.ExitStack() as stack:
        for place, name, other in replacements:
            if hasattr(place, name):
                stack.enter_context(patch.object(place, name, other))
        yield


def _silently(*args: object, **kwargs: object) -> None:
    pass


def _free_cores(threads_per_worker: int) -> int:
    """How many workers the cores are good for: those that Ray found and that we may run on."""
    import ray

    cores = int(ray.cluster_resources()["CPU"])
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, cores // threads_per_worker)
