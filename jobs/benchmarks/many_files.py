"""Reading a store of very many small files before and after its compaction, pandas beside it.

Progress goes to stderr; the last line of stdout is one JSON object. README.md says what is in it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import harness  # noqa: F401
import numpy as np
import pandas as pd
import typer

from stn_cluster.cluster.rows import to_record
from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import Attempt, WorkerInfo, utc_now
from stn_cluster.registry import resolve
from stn_cluster.store import Record, Store, load_results
from stn_cluster.training.outcome import CurvePoint, Outcome, Predictions

IMAGES, CLASSES = 10_000, 10


def main(
    rows: Annotated[int, typer.Option(help="Cells in the store.")] = 2032,
    commits: Annotated[int, typer.Option(help="Files of each kind.")] = 703,
    rounds: Annotated[int, typer.Option(help="Of readings, of which the median counts.")] = 5,
) -> None:
    """Measures, and prints one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="many-files-") as name:
        store = fill(Path(name), rows, commits)
        say(f"{rows} rows are in {commits} files of each kind")
        found: dict[str, Any] = {"rows": rows, "before": measure(store, rounds)}
        steps = [0.0]
        waited, began = 0.0, time.perf_counter()
        step = began
        for seconds in store.compact(whole=True):
            steps.append(time.perf_counter() - step)
            time.sleep(seconds)
            waited += seconds
            step = time.perf_counter()
        found["compaction"] = {
            "seconds": round(time.perf_counter() - began - waited, 2),
            "waits_seconds": waited,
            "longest_step_ms": round(1e3 * max(steps), 1),
        }
        say("the store is compacted")
        found["after"] = measure(store, rounds)
    print(json.dumps(found))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measure(store: Store, rounds: int) -> dict[str, Any]:
    """Files and bytes of each kind, and the time to read the store, ours and pandas' in turns."""
    uri = store.uri
    readers: dict[str, Callable[[], object]] = {
        "load_results": lambda: load_results(uri),
        "pandas_cells": lambda: pd.read_parquet(f"{uri}/cells"),
        "read_predictions": lambda: Store.open(uri).read("predictions"),
        "pandas_predictions": lambda: pd.read_parquet(f"{uri}/predictions"),
        "revision": store.revision,
    }
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            began = time.perf_counter()
            read()
            taken[name].append(time.perf_counter() - began)
    usage = {kind: usage for kind, usage in store.usage().items() if usage[0] > 1}
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "files": {kind: files for kind, (files, _) in usage.items()},
        "megabytes": {kind: round(size / 1e6, 2) for kind, (_, size) in usage.items()},
        "ms": {name: round(1e3 * seconds, 1) for name, seconds in medians.items()},
        "over_pandas": round(medians["load_results"] / medians["pandas_cells"], 2),
    }


def fill(folder: Path, rows: int, commits: int) -> Store:
    """Makes a store of succeeded cells, in commits of one or a few."""
    store = Store.open(folder, create=True)
    cells = resolve(
        parse_config({"models": ["FCN"], "distortions": ["R"], "seeds": [*range(rows)]})
    )
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, IMAGES)
    for group in np.array_split(np.arange(rows), commits):
        store.commit([record(cells[number], truth, rng) for number in group])
    return store


def record(cell: Cell, truth: np.ndarray, rng: np.random.Generator) -> Record:
    """An attempt at a cell that is wrong about few images."""
    first = np.where(rng.random(IMAGES) < 0.02, rng.integers(0, CLASSES, IMAGES), truth)
    confidence = (65_535 * (1 - rng.random(IMAGES) ** 8 / 2)).astype("<u2")
    outcome = Outcome(
        key=cell.key,
        iterations=cell.iterations,
        train_loss=0.02,
        n_test=IMAGES,
        n_wrong=int((first != truth).sum()),
        confusion=tuple(np.bincount(truth * CLASSES + first, minlength=CLASSES**2).tolist()),
        curve=tuple(CurvePoint(step=step, train_loss=1 / step, lr=0.1) for step in range(1, 90)),
        predictions=Predictions(
            test_set="0123456789abcdef",
            n_classes=CLASSES,
            first=first.astype("u1").tobytes(),
            second=((first + 1) % CLASSES).astype("u1").tobytes(),
            confidence=confidence.tobytes(),
            second_confidence=(65_535 - confidence).tobytes(),
        ),
    )
    worker = WorkerInfo("host", "cpu", "2")
    return to_record(Attempt(uuid4().hex, cell, "bench", 1, worker, utc_now()), outcome)


if __name__ == "__main__":
    typer.run(main)
