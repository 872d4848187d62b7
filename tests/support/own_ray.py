"""A private Ray on this machine for one program, with a chosen number of cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from stn_cluster.cluster.private_ray import minimal_ray


@contextmanager
def own_ray(cpus: int, modules: Sequence[Path] = (), **environment: str) -> Iterator[str]:
    """Runs Ray within the block; yields its address.

    Args:
        cpus: cores, present or not.
        modules: files that its workers can import.
        environment: variables of its workers.
    """
    runtime: dict[str, Any] = {"env_vars": environment}
    if modules:  # Ray fails for an empty list
        runtime["py_modules"] = [str(file) for file in modules]
    with minimal_ray():
        ray.init(
            address="local",  # never a cluster from the environment
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=256 * 2**20,  # bytes
            runtime_env=runtime,
        )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
