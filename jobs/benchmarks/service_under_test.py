"""A service of no-op cells on a Ray of the benchmark's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import harness  # noqa: F401
from support.own_ray import own_ray
from support.processes import actors

from stn_cluster.cluster.connect import start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve

SHIPPED = ("noop_runner", "tune_trials")  # modules beside this one that workers import
PAPER = {  # 32 cells a seed; those of a distortion and seed share a stream, so packs form
    "models": ["FCN", "CNN", "ST-FCN", "ST-CNN"],
    "transforms": ["none", "affine", "projective", "tps"],
    "distortions": ["R", "RTS", "P", "E"],
}
STOP_SECONDS = 120.0


def cluster(cpus: int) -> AbstractContextManager[str]:
    """A Ray whose workers know the no-op cells and trials."""
    here = Path(__file__)
    return own_ray(cpus, [here.with_name(f"{module}.py") for module in SHIPPED])


@contextmanager
def service(folder: Path, **settings: Any) -> Iterator[CoordinatorClient]:
    """A service of no-op cells with its store and state below a folder."""
    client = start(
        Settings(
            store=str(folder / "store"),
            state=str(folder / "state"),
            runner="noop_runner:NoopRunner",
            **settings,
        )
    )
    try:
        yield client
    finally:
        client.stop(STOP_SECONDS)


def noop_cells(seeds: int, first_seed: int = 0, **config: Any) -> tuple[Cell, ...]:
    """Cells of a grid at `seeds` seeds; without `config`, one cell per seed, alone in its pack."""
    all_seeds = range(first_seed, first_seed + seeds)
    grid = {"models": ["FCN"], "distortions": ["R"], "seeds": list(all_seeds), **config}
    return tuple(resolve(parse_config(grid)))


def coordinator() -> int:
    """The process id of the coordinator on this process's own Ray."""
    [found] = actors("Coordinator")
    return found


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return round(int(kib) / 1024, 1)
