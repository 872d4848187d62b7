"""Ray on this machine for one program alone, with as many cores to give away as it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray


@contextmanager
def own_ray(cpus: int, modules: Sequence[Path] = (), **environment: str) -> Iterator[str]:
    """Ray until the end of the block; yields its address.

    Args:
        cpus: cores, present or not.
        modules: files that its workers can import.
        environment: variables of its workers.
    """
    ray.init(
        address="local",  # never one that the environment names
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=256 * 2**20,  # bytes
        runtime_env={"py_modules": [str(file) for file in modules], "env_vars": environment},
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
