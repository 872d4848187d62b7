"""Details of one attempt at a cell: its curve, its confusion matrix, its test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stn_cluster.errors import NotFoundError, UserError, unknown
from stn_cluster.exploring.numbers import plain
from stn_cluster.report.grading import grade
from stn_cluster.store import FULL, Store, newest, read_where

WHICH = ("worst", "wrong", "all")


@dataclass(frozen=True)
class Wanted:
    """Which test images of an attempt are listed."""

    which: str = "worst"  # wrong ones, the surest first; wrong ones in their order; all
    truth: int | None = None  # only of this class
    predicted: int | None = None  # only those taken for this class
    offset: int = 0
    limit: int = 48


def curve(store: Store, key: str, attempt: str | None) -> dict[str, Any]:
    """Learning curve of an attempt at a cell; of its current result if none is named."""
    attempt = attempt or _row(store, key)["attempt"]
    columns = ["key", "attempt", "step", "train_loss", "lr", "test_error"]
    rows = read_where(store, "curves", "attempt", attempt, columns)
    rows = sorted((row for row in rows if row["key"] == key), key=lambda row: row["step"])
    tested = [row for row in rows if row["test_error"] is not None]
    return {
        "attempt": attempt,
        "step": [row["step"] for row in rows],
        "loss": [plain(row["train_loss"]) for row in rows],
        "learning_rate": [plain(row["lr"]) for row in rows],
        "test": {
            "step": [row["step"] for row in tested],
            "error": [row["test_error"] for row in tested],
        },
    }


def confusion(store: Store, key: str, attempt: str | None) -> dict[str, Any]:
    """Confusion matrix of an attempt at a cell: true classes down, predicted ones across.

    Raises:
        NotFoundError: there is none: it failed, was not tested, or has more than 256 classes.
    """
    row = _row(store, key, attempt)
    counts = row["confusion"]
    if counts is None:
        raise NotFoundError(f"{row['label']}: there is no confusion matrix of this attempt")
    side = math.isqrt(len(counts))
    return {
        "attempt": row["attempt"],
        "class_names": class_names(store, row["dataset"], side),
        "counts": np.array(counts).reshape(side, side).tolist(),
        "n_test": int(sum(counts)),
    }


def predictions(
    store: Store,
    key: str,
    attempt: str | None,
    wanted: Wanted,
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Test images of an attempt at a cell, with what its network took them for.

    Raises:
        UserError: `which` is not one of `WHICH`.
        NotFoundError: the store has no predictions of it, or no labels of its test set.
    """
    if wanted.which not in WHICH:
        raise UserError(unknown("choice of images", wanted.which, WHICH), "which")
    row = _row(store, key, attempt)
    found = _predicted(store, row, data_root)
    truth, first = found["truth"], found["predicted"]
    chosen = np.ones(len(first), bool) if wanted.which == "all" else truth != first
    if wanted.truth is not None:
        chosen &= truth == wanted.truth
    if wanted.predicted is not None:
        chosen &= first == wanted.predicted
    places = np.flatnonzero(chosen)
    confidence = found["confidence"]
    if wanted.which == "worst" and confidence is not None:
        places = places[np.argsort(-confidence[places].astype(int), kind="stable")]
    page = places[wanted.offset : wanted.offset + wanted.limit]
    return {
        "attempt": row["attempt"],
        "total": len(places),
        "offset": wanted.offset,
        "class_names": class_names(store, row["dataset"], None),
        "images": [
            {
                "index": int(index),
                "truth": int(truth[index]),
                "predicted": int(first[index]),
                "second": None if found["second"] is None else int(found["second"][index]),
                "confidence": None if confidence is None else float(confidence[index]) / FULL,
            }
            for index in page
        ],
    }


def _predicted(
    store: Store, row: dict[Any, Any], data_root: Path | None
) -> dict[str, NDArray[Any] | Any]:
    """Classes of each test image of an attempt; the second and confidence may be None."""
    rows = read_where(store, "predictions", "attempt", row["attempt"])
    if not rows:
        raise NotFoundError(f"{row['label']}: the store has no predictions of this attempt")
    (stored,) = rows
    sets = read_where(store, "test_sets", "test_set", stored["test_set"], ["test_set", "labels"])
    truth = np.array(sets[0]["labels"]) if sets else _truth(store, row, data_root)
    narrow = stored["predictions"] is not None

    def numbers(name: str) -> Any:
        return None if stored[name] is None else np.array(stored[name])

    return {
        "truth": truth,
        "predicted": numbers("predictions" if narrow else "predictions_wide"),
        "second": numbers("second" if narrow else "second_wide"),
        "confidence": numbers("confidence"),
    }


def _truth(store: Store, row: dict[Any, Any], data_root: Path | None) -> NDArray[Any]:
    """Labels that the store lacks, from the data set, if they are those of the row's errors."""
    graded = grade(store, pd.DataFrame([row]), data_root)
    if row["key"] not in graded.cells:
        raise NotFoundError(f"{row['label']}: {graded.reasons[row['key']]}")
    return graded.cells[row["key"]].truth


def class_names(store: Store, dataset: str, count: int | None) -> list[str] | None:
    """Names of a data set's classes: their numbers if they have no names."""
    sets = store.read("test_sets", columns=["dataset", "class_names"]).to_pylist()
    named = next(
        (r["class_names"] for r in sets if r["dataset"] == dataset and r["class_names"]), None
    )
    if named is None and count is not None:
        return [str(number) for number in range(count)]
    return named


def _row(store: Store, key: str, attempt: str | None = None) -> dict[Any, Any]:
    """Row of an attempt at a cell; its current result if none is named."""
    rows = store.results(latest=False)
    rows = rows[rows["key"] == key]
    rows = newest(rows) if attempt is None else rows[rows["attempt"] == attempt]
    if rows.empty:
        of = "" if attempt is None else f" of attempt {attempt}"
        raise NotFoundError(f"{store.name}: there is no result{of} of cell {key}")
    row: dict[Any, Any] = rows.to_dict("records")[0]
    return row
