"""Predictions of trained cells for each image of their test sets, with the true classes."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.store.loading import load_results
from stn_cluster.store.store import Store

FULL = 65_535  # stored value of a probability of 1
_COLUMNS = {
    "key": "str",
    "label": "str",
    "image": "int64",
    "true_class": "UInt16",
    "predicted_class": "UInt16",
    "confidence": "Float64",
    "second_class": "UInt16",
    "second_confidence": "Float64",
}


@dataclass(frozen=True, eq=False)
class StoredLabels:
    """True classes of a test set's images; image i shows base image i mod (n / repeats)."""

    classes: NDArray[Any]
    repeats: int


def read_labels(store: Store) -> dict[str, StoredLabels]:
    """Labels of all test sets of a store, by the test set.

    Raises:
        StoreError: a file of the store cannot be read.
    """
    rows = store.read("test_sets", columns=["test_set", "repeats", "labels"]).to_pandas()
    return {
        name: StoredLabels(np.asarray(labels), int(repeats))
        for name, repeats, labels in rows.itertuples(index=False)
    }


def read_classes(
    store: Store, attempts: Collection[str]
) -> dict[str, tuple[str | None, NDArray[Any]]]:
    """Test set and predicted classes of attempts that have predictions, by the attempt.

    The test set of schema version 1 is None.

    Raises:
        StoreError: a file of the store cannot be read.
    """
    columns = ["attempt", "test_set", "predictions", "predictions_wide"]
    rows = store.read("predictions", columns=columns)
    rows = rows.filter(pc.is_in(rows["attempt"], pa.array(attempts, pa.string())))
    found = {}
    for attempt, test_set, narrow, wide in zip(*(rows[n] for n in columns), strict=True):
        values = (narrow if narrow.is_valid else wide).values
        if values is not None:
            found[attempt.as_py()] = (test_set.as_py(), values.to_numpy(zero_copy_only=False))
    return found


def load_predictions(store: str | os.PathLike[str] | Store, **filters: Any) -> pd.DataFrame:
    """Loads the predictions of each cell's current result: one row per image of its test set.

    Args:
        store: a store, or its path or URI.
        filters: see `load_results`.

    Returns:
        key, label, image (its index in the test set, the same for every model and seed),
        true_class, predicted_class, confidence (the softmax probability of the predicted class, 0
        to 1), second_class, second_confidence. Stores of schema version 1 have only the predicted
        class; the other columns are then missing values.

    Raises:
        UserError: there is no such filter.
        StoreError: there is no store, or a file in it is torn, foreign or newer.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    return predictions_of(opened, load_results(opened, **filters))


def predictions_of(store: Store, cells: pd.DataFrame) -> pd.DataFrame:
    """Predictions of attempts, which are rows of `cells`: columns as of `load_predictions`.

    Raises:
        StoreError: a file of the store cannot be read.
    """
    rows = store.read("predictions")
    rows = rows.filter(pc.is_in(rows["attempt"], pa.array(cells["attempt"], pa.string())))
    by_attempt = rows.to_pandas().set_index("attempt").to_dict("index")
    sets = store.read("test_sets", columns=["test_set", "labels"]).to_pandas()
    truth = dict(zip(sets["test_set"], sets["labels"], strict=True))
    parts = [
        _predictions(label, by_attempt[attempt], truth)
        for attempt, label in zip(cells["attempt"], cells["label"], strict=True)
        if attempt in by_attempt
    ]
    empty = pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    return pd.concat(parts, ignore_index=True) if parts else empty


def _predictions(label: str, row: dict[Hashable, Any], truth: dict[str, Any]) -> pd.DataFrame:
    narrow = row["predictions"] is not None
    first, second = ("predictions", "second") if narrow else ("predictions_wide", "second_wide")
    n = len(row[first])

    def numbers(values: Any, unit: int = 1) -> Any:
        return np.full(n, np.nan) if values is None else values / unit

    columns = {
        "key": row["key"],
        "label": label,
        "image": np.arange(n),
        "true_class": numbers(truth.get(row["test_set"])),
        "predicted_class": numbers(row[first]),
        "confidence": numbers(row["confidence"], FULL),
        "second_class": numbers(row[second]),
        "second_confidence": numbers(row["second_confidence"], FULL),
    }
    return pd.DataFrame(columns).astype(_COLUMNS)
