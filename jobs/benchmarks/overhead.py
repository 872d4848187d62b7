"""What a cell costs beside its training: no-op cells through the queue, beside Ray Tune.

Progress goes to stderr; the last line of stdout is one JSON object. See README.md beside this file.
"""

from __future__ import annotations

import json
import os

os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # read once, when Tune is imported

import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import ray
import typer
from large_queue import measure_restart, measure_submission
from service_under_test import cpu_seconds, noop_cells, own_ray, service
from tune_trials import NoopTrainable, noop_function, run_trials

import stn_cluster
from stn_cluster.cluster.client import Client
from stn_cluster.cluster.job import Job, State

POLL_SECONDS = 0.1
WARM_UP = 50  # cells

Milliseconds = dict[str, float]


def main(
    cells: Annotated[int, typer.Option(help="No-op cells in a round.")] = 2000,
    trials: Annotated[int, typer.Option(help="Trials of Ray Tune in a round; 0: leave it.")] = 200,
    rounds: Annotated[int, typer.Option(help="Of each, in turns.")] = 3,
    workers: Annotated[int, typer.Option(help="And concurrent trials.")] = 2,
    queued: Annotated[int, typer.Option(help="Cells of one large job; 0: leave it.")] = 100_000,
    restart_queued: Annotated[
        int, typer.Option(help="Queued cells when the coordinator is killed; 0: leave it.")
    ] = 10_000,
) -> None:
    """Measures, and prints one line of JSON."""
    found: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "ray": ray.__version__,
            "stn_cluster": stn_cluster.__version__,
        },
        "sizes": {
            "cells": cells,
            "trials": trials,
            "rounds": rounds,
            "workers": workers,
            "queued": queued,
            "restart_queued": restart_queued,
        },
    }
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        found["noop"] = measure_rounds(folder, cells, trials, rounds, workers)
        if queued:
            with own_ray(1):
                found["queued"] = measure_submission(folder / "queued", queued, say)
        if restart_queued:
            with own_ray(1):
                found["restart"] = measure_restart(folder / "restart", restart_queued, rounds, say)
    print(json.dumps(found))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measure_rounds(
    folder: Path, cells: int, trials: int, rounds: int, workers: int
) -> dict[str, Any]:
    """Rounds of no-op cells and of no-op trials in turns, so that a busy machine meets all."""
    kinds: dict[str, Callable[[int], Milliseconds]] = {
        "stn_cluster": lambda turn: our_round(folder / f"ours-{turn}", cells, workers)
    }
    if trials:
        kinds["tune_reuse_actors"] = lambda _: tune_round(NoopTrainable, trials, workers, True)
        kinds["tune_functions"] = lambda _: tune_round(noop_function, trials, workers, False)
    seen: defaultdict[str, list[Milliseconds]] = defaultdict(list)
    for turn in range(rounds):
        for kind, measure in kinds.items():
            with own_ray(workers):
                seen[kind].append(measure(turn))
            say(f"round {turn + 1}/{rounds}: {kind}: {seen[kind][-1]} ms each")
    found: dict[str, Any] = {
        kind: {name: _spread([one[name] for one in measured]) for name in measured[0]}
        for kind, measured in seen.items()
    }
    for kind in kinds:
        if kind != "stn_cluster":
            found[f"times_less_than_{kind}"] = {
                name: round(value["median"] / found["stn_cluster"][name]["median"], 1)
                for name, value in found[kind].items()
                if name in found["stn_cluster"]
            }
    return found


def our_round(folder: Path, count: int, workers: int) -> Milliseconds:
    """Milliseconds a no-op cell from submit to the job's end, with workers that have begun."""
    with service(folder, workers=workers, idle_seconds=600.0) as client:
        run_job(client, Job("warm-up", noop_cells(WARM_UP)))
        job = Job("round", noop_cells(count, first_seed=WARM_UP))
        used, began = cpu_seconds(), time.perf_counter()
        run_job(client, job)
        seconds, used = time.perf_counter() - began, cpu_seconds() - used
    return {"wall_ms": _each(seconds, count), "cpu_ms": _each(used, count)}


def run_job(client: Client, job: Job) -> None:
    """Submits a job and waits until all its results are durable."""
    client.submit(job)
    while not (status := client.status(job.job_id)).ended:
        time.sleep(POLL_SECONDS)
    if status.counts != {State.SUCCEEDED: len(job.cells)}:
        raise RuntimeError(f"not all cells succeeded: {status}")


def tune_round(trainable: Any, count: int, workers: int, reuse: bool) -> Milliseconds:
    """The same of a trial of Ray Tune."""
    used = cpu_seconds()
    seconds, each = run_trials(trainable, count, workers, reuse)
    used = cpu_seconds() - used
    return {
        "wall_ms": _each(seconds, count),
        "wall_ms_warm": round(1e3 * each, 2),  # without the start of its actors
        "cpu_ms": _each(used, count),
    }


def _each(seconds: float, count: int) -> float:
    return round(1e3 * seconds / count, 2)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "all": list(values)}


if __name__ == "__main__":
    typer.run(main)
