"""The matrix as a page shows it: every entry with its cells, numbers, marks and progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stn_cluster.exploring.numbers import plain
from stn_cluster.grid import without_canvas
from stn_cluster.report.evaluation_tables import evaluation_means
from stn_cluster.report.matrix import matrix_legend, matrix_rows
from stn_cluster.report.table import table_of_cells
from stn_cluster.store import Store

MOST_CELLS = 50  # of an entry that are listed; `n_cells` counts them all
_ENTRY = ["dataset", "recipe", "model", "transform", "distortion"]
# Of the table's columns, and what they are called here.
_NUMBERS = {
    "n_seeds": "n_seeds",
    "test_error_mean": "error",
    "test_error_std": "std",
    "reference_error": "reference",
    "delta": "delta",
}
_INTERVALS = (
    *("low", "high", "question", "marked", "marks_question", "p_best", "beyond_reference"),
    *("rank", "rank_low", "rank_high", "n_test", "base_images", "n_rerun"),
)


@dataclass(frozen=True)
class Progress:
    """Where a cell of a job is."""

    state: str
    step: int = 0
    iterations: int = 0


def matrix_view(
    store: Store,
    cells: pd.DataFrame,
    *,
    progress: Mapping[str, Progress] | None = None,
    interval: bool = True,
    reference: str = "paper",
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Matrices of cells, one for each data set and recipe.

    Args:
        store: the store.
        cells: from `report.table.cells_of_table`, with a column train_seconds.
        progress: states of cells of a job, by key; others have the store's.
        interval: whether intervals and marks are computed, which takes the predictions.
        reference: numbers to compare with, see `comparison_table`.
        data_root: folder of data files, for a store without labels.

    Returns:
        total, counts (cells by state), and matrices: see the page's interface.
    """
    progress = progress or {}
    states = [
        progress[key].state if key in progress else status
        for key, status in zip(cells["key"], cells["status"], strict=True)
    ]
    cells = cells.assign(state=states)
    table = table_of_cells(cells, store if interval else None, reference, data_root=data_root)
    members = _members(cells)
    tested = _tested(store, cells)
    shown = []
    parts = table.groupby(["dataset", "recipe"], sort=False)
    notes = table.attrs.get("notes", {})
    for (dataset, recipe), part in parts:
        rows = [
            {
                "model": model,
                "transform": transform,
                "entries": [_entry(entry, members, progress, tested) for entry in entries],
            }
            for model, transform, entries in matrix_rows(pd.DataFrame(part))
        ]
        tests = [
            test
            for names, errors in tested.items()
            if names[:2] == (dataset, recipe)
            for test in errors
        ]
        shown.append(
            {
                "dataset": dataset,
                "recipe": recipe,
                "columns": list(part["distortion"].unique()),
                "seeds": int(part["n_seeds"].max()),
                "severities": sorted({at for at, k in tests if k == 1}),
                "worst_of": sorted({k for _, k in tests if k > 1}),
                "legend": matrix_legend(str(dataset), str(recipe), part, notes),
                "rows": rows,
            }
        )
    return {"total": len(cells), "counts": Counter(states), "matrices": shown}


class _Member(NamedTuple):
    """A cell of an entry."""

    seed: int
    key: str
    state: str
    error: float | None
    seconds: float | None


_Members = dict[tuple[Any, ...], list[_Member]]


def _members(cells: pd.DataFrame) -> _Members:
    """Cells of each entry, by seed."""
    found: _Members = {}
    fields = ("seed", "key", "state", "test_error", "train_seconds")
    columns = [cells[name].tolist() for name in (*_ENTRY, *fields)]
    for *names, seed, key, state, error, seconds in zip(*columns, strict=True):
        member = _Member(int(seed), key, state, plain(error), plain(seconds))
        found.setdefault(tuple(names), []).append(member)
    return {names: sorted(members) for names, members in found.items()}


def _entry(
    row: Mapping[Any, Any],
    members: _Members,
    progress: Mapping[str, Progress],
    tested: Mapping[tuple[Any, ...], Mapping[tuple[float, int], float]],
) -> dict[str, Any] | None:
    names = tuple(row[name] for name in _ENTRY)
    if names not in members:
        return None
    own = members[names]
    running = [progress[one.key] for one in own if one.key in progress]
    running = [one for one in running if one.state == "running"]
    seconds = [one.seconds for one in own if one.seconds is not None]
    errors = tested.get(names, {})
    entry = {name: plain(row[column]) for column, name in _NUMBERS.items()}
    entry |= {name: plain(row.get(name)) for name in _INTERVALS}
    return entry | {
        "distortion": row["distortion"],
        "counts": Counter(one.state for one in own),
        "cells": [
            {"key": one.key, "seed": one.seed, "state": one.state, "error": one.error}
            for one in own[:MOST_CELLS]
        ],
        "n_cells": len(own),
        "train_seconds": sum(seconds) / len(seconds) if seconds else None,
        "step": sum(one.step for one in running),
        "iterations": sum(one.iterations for one in running),
        "by_severity": {f"{at:g}": error for (at, k), error in errors.items() if k == 1},
        "by_worst_of": {str(k): error for (_, k), error in errors.items() if k > 1},
    }


def _tested(
    store: Store, cells: pd.DataFrame
) -> dict[tuple[Any, ...], dict[tuple[float, int], float]]:
    """Mean errors of each entry on its own distortion, by severity and number of draws."""
    if not store.read("evaluations", columns=["key"]).num_rows:
        return {}
    means = evaluation_means(store, key=list(cells["key"]))
    own = means[
        (means["on"] == means["trained_on"].map(without_canvas))
        & (means["dataset"] == means["trained_dataset"])
        & (means["status"] == "succeeded")
        & ((means["severity"] == 1) | (means["worst_of"] == 1))
    ]
    columns = ["trained_dataset", "recipe", "model", "transform", "trained_on"]
    columns += ["severity", "worst_of", "test_error_mean"]
    found: dict[tuple[Any, ...], dict[tuple[float, int], float]] = {}
    for *names, severity, worst_of, error in own[columns].itertuples(index=False, name=None):
        found.setdefault(tuple(names), {})[severity, worst_of] = plain(error)
    return found
