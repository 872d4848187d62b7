"""A service on a Ray of the benchmark's own, and what can be seen of its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from stn_cluster.cluster.client import Client
from stn_cluster.cluster.service import start
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
_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc


@contextmanager
def own_ray(cpus: int) -> Iterator[None]:
    """Ray on this machine, with so many cores to give away."""
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=256 * 2**20,  # bytes
        runtime_env={
            "py_modules": [str(Path(__file__).with_name(f"{module}.py")) for module in SHIPPED]
        },
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def service(folder: Path, **settings: Any) -> Iterator[Client]:
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
    """A grid at so many seeds; without `config` one cell a seed, so that each is alone in its pack."""
    all_seeds = range(first_seed, first_seed + seeds)
    grid = {"models": ["FCN"], "distortions": ["R"], "seeds": list(all_seeds), **config}
    return tuple(resolve(parse_config(grid)))


def coordinator() -> int:
    """The process id of the coordinator on this process's own Ray."""
    [found] = [pid for pid in descendants() if _command(pid).startswith("ray::Coordinator")]
    return found


def descendants() -> list[int]:
    """All processes that this one started, or they in turn: its Ray and all that runs on it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(os.getpid(), []))
    for pid in found:  # it grows
        found += children.get(pid, [])
    return found


def cpu_seconds() -> float:
    """What this process and its descendants have used so far, those that have ended included."""
    # Of /proc/PID/stat from the state on: utime, stime, and the same of children that have ended.
    used = [
        sum(map(int, fields[11:15]))
        for pid in (os.getpid(), *descendants())
        if (fields := _stat(pid))
    ]
    return sum(used) / _TICKS


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kib) / 1024


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the process's name; empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
