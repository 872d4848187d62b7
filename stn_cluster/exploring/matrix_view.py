"""The matrix as a page shows it: every entry with its cells, numbers, marks and progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stn_cluster.exploring.numbers import plain
from stn_cluster.report.evaluation_tables import evaluation_means
from stn_cluster.report.matrix import matrices, matrix_rows
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
        cells: from `report.table.current_cells`, with a column train_seconds.
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
    members = dict(iter(cells.groupby(_ENTRY, sort=False)))
    tested = _tested(store, cells)
    shown = []
    parts = table.groupby(["dataset", "recipe"], sort=False)
    for ((dataset, recipe), part), texts in zip(parts, matrices(table), strict=True):
        rows = [
            {
                "model": model,
                "transform": transform,
                "entries": [_entry(entry, members, progress, tested) for entry in entries],
            }
            for model, transform, entries in matrix_rows(pd.DataFrame(part))
        ]
        keys = [one for one in tested if one[:2] == (dataset, recipe)]
        shown.append(
            {
                "dataset": dataset,
                "recipe": recipe,
                "columns": list(part["distortion"].unique()),
                "seeds": int(part["n_seeds"].max()),
                "severities": sorted({one[5] for one in keys if one[6] == 1}),
                "worst_of": sorted({one[6] for one in keys if one[6] > 1}),
                "legend": list(texts.legend),
                "rows": rows,
            }
        )
    return {"total": len(cells), "counts": Counter(states), "matrices": shown}


def _entry(
    row: Mapping[Any, Any],
    members: Mapping[Any, pd.DataFrame],
    progress: Mapping[str, Progress],
    tested: Mapping[tuple[Any, ...], float],
) -> dict[str, Any] | None:
    names = tuple(row[name] for name in _ENTRY)
    if names not in members:
        return None
    part = members[names].sort_values("seed", kind="stable")
    shown = part.head(MOST_CELLS)[["key", "seed", "state", "test_error"]]
    running = [progress[key] for key in part["key"] if key in progress]
    running = [one for one in running if one.state == "running"]
    own = {one[5:]: error for one, error in tested.items() if one[:5] == names}
    entry = {name: plain(row[column]) for column, name in _NUMBERS.items()}
    entry |= {name: plain(row.get(name)) for name in _INTERVALS}
    return entry | {
        "distortion": row["distortion"],
        "counts": Counter(part["state"]),
        "cells": [
            {"key": key, "seed": int(seed), "state": state, "error": plain(error)}
            for key, seed, state, error in shown.itertuples(index=False, name=None)
        ],
        "n_cells": len(part),
        "train_seconds": plain(part["train_seconds"].mean()),
        "step": sum(one.step for one in running),
        "iterations": sum(one.iterations for one in running),
        "by_severity": {f"{severity:g}": error for (severity, k), error in own.items() if k == 1},
        "by_worst_of": {str(k): error for (severity, k), error in own.items() if k > 1},
    }


def _tested(store: Store, cells: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """Mean errors of entries on their own distortion, by severity and draws."""
    if not store.read("evaluations", columns=["key"]).num_rows:
        return {}
    means = evaluation_means(store, key=list(cells["key"]))
    own = means[
        (means["on"] == means["trained_on"])
        & (means["dataset"] == means["trained_dataset"])
        & (means["status"] == "succeeded")
        & ((means["severity"] == 1) | (means["worst_of"] == 1))
    ]
    columns: Sequence[str] = [
        *("trained_dataset", "recipe", "model", "transform", "trained_on", "severity", "worst_of"),
        "test_error_mean",
    ]
    return {
        tuple(names): plain(error)
        for *names, error in own[list(columns)].itertuples(index=False, name=None)
    }
