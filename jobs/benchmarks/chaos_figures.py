"""Figures of a chaos run, from its store and its queue."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stn_cluster.grid import Cell
from stn_cluster.queue.database import connect_reader
from stn_cluster.store import Store

NUMBERS = ["test_error", "n_wrong", "train_loss"]


def of_store(store: Store, cells: Sequence[Cell]) -> dict[str, int]:
    """Counts of errors in the results of a job; all 0 if it is correct.

    Args:
        store: holds nothing but the job's.
        cells: the job's.
    """
    rows = store.results(latest=False)
    good = rows["status"] == "succeeded"
    wanted = {cell.key for cell in cells}
    return {
        "lost": len(wanted - set(rows["key"][good])),
        "unexpected": int((~good | ~rows["key"].isin(wanted)).sum()),
        "duplicates": len(rows) - rows["key"].nunique(),
        "incomplete": sum(not one for one in _complete(store, rows["attempt"][good])),
        "leftovers": sum(
            name.startswith("state-") for key in wanted for _, name in store.checkpoints.of(key)
        ),
    }


def _complete(store: Store, attempts: Iterable[str]) -> list[bool]:
    """Whether the store has the predictions and the curve of each attempt exactly once."""
    predictions = Counter(store.read("predictions", columns=["attempt"])["attempt"].to_pylist())
    points = store.read("curves", columns=["attempt", "step"]).to_pylist()
    curves = Counter(point["attempt"] for point in points)
    distinct = Counter(attempt for attempt, _ in {(p["attempt"], p["step"]) for p in points})
    return [predictions[a] == 1 and 0 < curves[a] == distinct[a] for a in attempts]


def of_queue(state: Path, store: Store) -> dict[str, Any]:
    """Ends of the attempts, and the number of those on which queue and store disagree."""
    db = connect_reader(state)
    try:
        attempts = [dict(row) for row in db.execute("SELECT attempt, exit_reason FROM attempts")]
        failures = db.execute("SELECT max(failures) FROM cells").fetchone()[0]
    finally:
        db.close()
    succeeded = {row["attempt"] for row in attempts if row["exit_reason"] == "succeeded"}
    return {
        "attempts": dict(Counter(row["exit_reason"] or "open" for row in attempts).most_common()),
        "most_failures": failures,
        "disputed": len(succeeded ^ set(store.results(latest=False)["attempt"])),
    }


def differences(store: Store, undisturbed: Store) -> int:
    """Number of the undisturbed store's cells whose results differ, even by one bit."""
    ours, theirs = _numbers(store), _numbers(undisturbed)
    return sum(ours.get(key) != numbers for key, numbers in theirs.items())


def _numbers(store: Store) -> dict[str, tuple[Any, ...]]:
    rows = store.results()
    predictions = store.read("predictions", columns=["attempt", "predictions"]).to_pandas()
    classes = {a: bytes(p) for a, p in predictions.itertuples(index=False)}
    return {
        row["key"]: (*(row[name] for name in NUMBERS), classes.get(row["attempt"]))
        for row in rows.to_dict("records")
    }


def recoveries(store: Store, kills: Iterable[float]) -> dict[str, float]:
    """Seconds from kills to the next accepted result.

    Args:
        store: the results.
        kills: when they were, in seconds since 1970.
    """
    accepted = pd.to_datetime(store.results(latest=False)["accepted_at"], utc=True)
    times = sorted(time.timestamp() for time in accepted)
    waits = [next((t for t in times if t > kill), kill) - kill for kill in kills]
    if not waits:
        return {}
    return {"median": round(statistics.median(waits), 2), "max": round(max(waits), 2)}
