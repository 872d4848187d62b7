"""Overhead of a cell besides its training: no-op cells in the service, and in Ray Tune.

Progress goes to stderr; the last line of stdout is one JSON object. README.md says what is in it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from math import ceil
from pathlib import Path
from typing import Annotated, Any

# Read when Tune is imported: no result files and no table of trials, so that it is at its fastest.
os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}

import ray
import typer
from cpu_meter import CpuMeter
from large_queue import measure_restart, measure_submission
from service_under_test import PAPER, cluster, noop_cells, service
from tune_trials import NoopTrainable, noop_function, run_trials

import stn_cluster
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellState, Job

POLL_SECONDS = 0.1
WARM_UP = 50  # cells
FUNCTION_SHARE = 10  # one function trial for so many others: each starts a process

Figures = dict[str, float]  # milliseconds a cell, or a trial


def main(
    cells: Annotated[int, typer.Option(help="No-op cells of a job; two jobs a round.")] = 2000,
    trials: Annotated[int, typer.Option(help="Trials of Ray Tune a round; 0: none.")] = 200,
    rounds: Annotated[int, typer.Option(help="Of each, in turns.")] = 3,
    workers: Annotated[int, typer.Option(help="And as many trials at a time.")] = 2,
    queued: Annotated[int, typer.Option(help="Cells of the large job; 0: none.")] = 100_000,
    restart_queued: Annotated[
        int, typer.Option(help="Cells queued when the coordinator is killed; 0: it is not.")
    ] = 10_000,
) -> None:
    """Measures, and prints one line of JSON."""
    found: dict[str, Any] = {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "ray": ray.__version__,
            "stn_cluster": stn_cluster.__version__,
            "load_before": round(os.getloadavg()[0], 1),  # of other programs
        },
        "sizes": {"cells": cells, "trials": trials, "rounds": rounds, "workers": workers},
    }
    with tempfile.TemporaryDirectory(prefix="overhead-") as name, redirect_stdout(sys.stderr):
        folder = Path(name)
        found["noop"] = measure_noops(folder, cells, trials, rounds, workers)
        if queued:
            with cluster(1):
                found["queued"] = measure_submission(folder / "queued", queued, say)
        if restart_queued:
            with cluster(1):
                found["restart"] = measure_restart(folder / "restart", restart_queued, rounds, say)
    print(json.dumps(found))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measure_noops(
    folder: Path, cells: int, trials: int, rounds: int, workers: int
) -> dict[str, Any]:
    """No-op cells and no-op trials in turns, so that a busy machine slows all of them."""
    kinds: list[Callable[[int], dict[str, Figures]]] = [
        lambda turn: run_cells(folder / f"round-{turn}", cells, workers)
    ]
    if trials:
        kinds += [
            lambda _: {"tune_reuse_actors": run_tune(NoopTrainable, trials, workers, True)},
            lambda _: {"tune_functions": run_tune(noop_function, few(trials), workers, False)},
        ]
    seen: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for turn in range(rounds):
        for kind in kinds:
            with cluster(workers):
                measured = kind(turn)
            say(f"round {turn + 1}/{rounds}: {measured}")
            for name, figures in measured.items():
                for figure, value in figures.items():
                    seen[name][figure].append(value)
    found = {
        name: {figure: spread(values) for figure, values in figures.items()}
        for name, figures in seen.items()
    }
    if trials:
        found["tune_over_ours"] = {
            name: ratios(found["tune_reuse_actors"], found[name]) for name in ("grid", "alone")
        }
    return found


def run_cells(folder: Path, count: int, workers: int) -> dict[str, Figures]:
    """A job of the paper's grid at several seeds, and one of cells that have no company in their
    packs; with workers that have begun."""
    grid = noop_cells(ceil(count / 32), **PAPER)
    alone = noop_cells(count, first_seed=1_000_000)
    with service(folder, workers=workers, idle_seconds=600.0) as client:
        run_job(client, "warm-up", noop_cells(WARM_UP, first_seed=2_000_000))
        return {
            "grid": run_job(client, "grid", grid),
            "alone": run_job(client, "alone", alone),
        }


def run_job(client: CoordinatorClient, name: str, cells: Sequence[Cell]) -> Figures:
    """From submit until all results are durable."""
    job = Job(name, tuple(cells))
    meter, began = CpuMeter(), time.perf_counter()
    client.submit(job)
    while not (status := client.status(name)).ended:
        time.sleep(POLL_SECONDS)
    seconds, used = time.perf_counter() - began, meter.stop()
    if status.counts != {CellState.SUCCEEDED: len(cells)}:
        raise RuntimeError(f"not all cells succeeded: {status}")
    return {"wall_ms": each(seconds, len(cells)), "cpu_ms": each(used, len(cells))}


def run_tune(trainable: Any, count: int, workers: int, reuse: bool) -> Figures:
    """Seconds of the trials, with and without the start of their actors."""
    meter = CpuMeter()
    seconds, running = run_trials(trainable, count, workers, reuse)
    return {
        "wall_ms": each(seconds, count),
        "wall_ms_started": each(running, count - 1),
        "cpu_ms": each(meter.stop(), count),
    }


def few(trials: int) -> int:
    """Number of function trials."""
    return max(2, trials // FUNCTION_SHARE)


def each(seconds: float, count: int) -> float:
    """Milliseconds per cell or trial."""
    return round(1e3 * seconds / count, 2)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median, and the numbers it was computed from."""
    return {"median": statistics.median(values), "all": list(values)}


def ratios(tune: dict[str, Any], ours: dict[str, Any]) -> Figures:
    """Ratio of the time of a trial to that of a cell."""
    mine = {"wall_ms": "wall_ms", "wall_ms_started": "wall_ms", "cpu_ms": "cpu_ms"}
    return {name: round(tune[name]["median"] / ours[of]["median"], 1) for name, of in mine.items()}


if __name__ == "__main__":
    typer.run(main)
