"""Variables by which OpenMP binds the threads of a process to cores.

They are meant for one process with a thread per core. Of several workers with a thread each, all
would run on the same core. They take effect when PyTorch is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

# OMP_THREAD_LIMIT and OMP_DYNAMIC do not bind, but take threads away that a worker was given.
VARIABLES = (
    *("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"),
    *("KMP_AFFINITY", "KMP_HW_SUBSET", "KMP_PLACE_THREADS"),
    *("OMP_THREAD_LIMIT", "OMP_DYNAMIC"),
)
_MAPS = Path("/proc/self/maps")  # Linux only


def unbind() -> dict[str, str]:
    """Removes the variables from the environment of this process; returns those it had."""
    return {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}


@contextlib.contextmanager
def unbound() -> Iterator[None]:
    """Removes the variables within the block, and lets its processes use all cores.

    Where PyTorch has been loaded before, it has bound this thread, and its processes would inherit
    that.
    """
    removed = unbind()
    cores = os.sched_getaffinity(0) if removed and hasattr(os, "sched_getaffinity") else None
    if cores is not None and (all_cores := cores | _cores_of_openmp()) != cores:
        os.sched_setaffinity(0, all_cores)
    try:
        yield
    finally:
        os.environ |= removed
        if cores is not None:
            os.sched_setaffinity(0, cores)


def binding_remark() -> str | None:
    """One line for people, if the environment has some of the variables."""
    present = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    if not present:
        return None
    return (
        f"{', '.join(present)}: not used for workers, whose threads it would put on the same core "
        "or take away"
    )


def _cores_of_openmp() -> set[int]:
    """Cores among which GNU's OpenMP, if it is loaded, has distributed threads."""
    found = re.search(r"(/\S*libgomp\S*)$", _MAPS.read_text() if _MAPS.is_file() else "", re.M)
    if found is None:
        return set()
    library = ctypes.CDLL(found[1])
    cores: set[int] = set()
    for place in range(library.omp_get_num_places()):
        numbers = (ctypes.c_int * library.omp_get_place_num_procs(place))()
        library.omp_get_place_proc_ids(place, numbers)
        cores.update(numbers)
    return cores
