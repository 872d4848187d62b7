"""One cell as a page shows it: its spec, results, attempts, and what else there is of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stn_cluster.errors import NotFoundError, error_line
from stn_cluster.exploring.numbers import plain_row
from stn_cluster.grid import Cell
from stn_cluster.plain_text import plain_lines
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.store import (
    Store,
    is_published,
    load_evaluations,
    load_verifications,
    newest,
    rerun_command,
    stored_logs,
)

_NAMES = ("label", "dataset", "recipe", "model", "transform", "distortion", "seed")
_LONG = ["spec", "confusion"]  # columns that are shown by themselves
# Columns of `cells` that an attempt shows.
_OF_ATTEMPT = ("attempt", "job_id", "device", "train_seconds", "torch_version", "test_error")


def cell_view(store: Store, key: str) -> dict[str, Any]:
    """A cell: all that a store knows of it.

    Args:
        store: the store.
        key: the cell's key.

    Returns:
        See the page's interface.

    Raises:
        NotFoundError: the store has neither a result of it nor a job with it.
        StoreError: a file of the store cannot be read.
    """
    rows = store.results(latest=False)
    rows = rows[rows["key"] == key].sort_values("accepted_at", kind="stable")
    submitted = next((cell for cell in store.submitted() if cell.key == key), None)
    if rows.empty and submitted is None:
        raise NotFoundError(f"{store.name}: no cell has the key {key}")
    current = None if rows.empty else newest(rows).to_dict("records")[0]
    spec = _spec(current, submitted)
    names = current or {name: getattr(submitted, name) for name in _NAMES}
    attempt = None if current is None else current["attempt"]
    evaluations = load_evaluations(store, key=key)
    return {
        "key": key,
        **plain_row({name: names[name] for name in _NAMES}),
        "state": "missing" if current is None else current["status"],
        "spec": spec,
        "result": None if current is None else _result(current),
        "attempts": _attempts(store, key, rows, attempt),
        "repeat": rerun_command(store.name, key, is_published(store.uri)),
        "predictions": attempt is not None and _has(store, "predictions", attempt),
        "confusion": current is not None and current["confusion"] is not None,
        "weights": has_weights(store, key, attempt),
        "transformer": spec.get("transform") != "none",
        "evaluations": [plain_row(row) for row in evaluations.to_dict("records")],
        "verifications": [
            plain_row(row) for row in load_verifications(store, key=key).to_dict("records")
        ],
    }


def _spec(current: Mapping[Any, Any] | None, submitted: Cell | None) -> dict[str, Any]:
    text = current["spec"] if current else submitted.model_dump_json() if submitted else None
    try:
        spec = json.loads(text or "{}")
    except ValueError:  # of another version: it is shown as it is nowhere
        return {}
    return spec if isinstance(spec, dict) else {}


def _result(row: Mapping[Any, Any]) -> dict[str, Any]:
    found = plain_row({name: value for name, value in row.items() if name not in _LONG})
    if isinstance(found.get("error"), str):
        found["error"] = plain_lines(found["error"])
    return found


def _attempts(
    store: Store, key: str, rows: pd.DataFrame, current: str | None
) -> list[dict[str, Any]]:
    """Attempts that the store knows of, newest first."""
    curves = store.read("curves", columns=["attempt"])["attempt"].unique().to_pylist()
    ended = {row["attempt"]: row for row in rows.to_dict("records")}
    found = []
    for log in stored_logs(store, key):
        row = ended.get(log.attempt, {})
        shown = plain_row({name: row.get(name) for name in _OF_ATTEMPT})
        error = row.get("error")
        found.append(
            shown
            | {
                "attempt": log.attempt,
                "state": log.ending,
                "reason": plain_lines(error_line(error)) if isinstance(error, str) else None,
                "ended_at": plain_row(row).get("accepted_at"),
                "current": log.attempt == current,
                "curve": log.attempt in curves,
                "log": bool(log.text),
            }
        )
    return found[::-1]


def has_weights(store: Store, key: str, attempt: str | None) -> bool:
    """Whether a store has the weights of a cell's attempt, by its checkpoint or published."""
    if attempt is not None and store.checkpoints.has(key, attempt, WEIGHTS):
        return True
    return store.weights.has(key)


def _has(store: Store, kind: Any, attempt: str) -> bool:
    return attempt in set(store.read(kind, columns=["attempt"])["attempt"].to_pylist())
