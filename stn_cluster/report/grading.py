"""Stored predictions marked right or wrong, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import find_dataset, load_plugins
from stn_cluster.store import Store, StoredLabels, read_classes, read_labels

NO_PREDICTIONS = "the store has no predictions of it"
NO_TEST = "it was not tested"
NO_LABELS = "the store has no labels of its test images; name the data's folder with --data-root"
NO_TORCH = "the store has no labels of its test images, and loading them needs PyTorch"


@dataclass(frozen=True, eq=False)
class GradedCell:
    """What a trained network got wrong."""

    key: str
    label: str
    test_set: str  # 16 hex digits: two cells with the same were tested on the same images
    wrong: NDArray[np.bool_]  # (repeats, base images)
    predicted: NDArray[Any]  # (images,) classes, in the order of the test set
    truth: NDArray[Any]  # (images,) true classes


@dataclass(frozen=True)
class Grades:
    """Graded cells by key, and why others could not be graded."""

    cells: Mapping[str, GradedCell]
    reasons: Mapping[str, str]

    def find(self, key: str, label: str) -> GradedCell:
        """A cell that must be graded.

        Raises:
            UserError: it could not be; the message says why.
        """
        if key not in self.cells:
            raise UserError(f"{label}: {self.reasons[key]}")
        return self.cells[key]


def grade(store: Store, rows: pd.DataFrame, data_root: Path | None = None) -> Grades:
    """Marks the predictions of cells.

    Labels are those of the store; those of schema version 1, which has none, are loaded from the
    data set if it needs no files or `data_root` is given.

    Args:
        store: the store.
        rows: succeeded rows of its `cells`: key, attempt, label, dataset, n_wrong, spec.
        data_root: folder of data files.

    Raises:
        UserError: the data under `data_root` is not what a cell was tested on, or missing.
        StoreError: a file of the store cannot be read.
    """
    predicted = read_classes(store, rows["attempt"].tolist())
    labels = _Loader(store, data_root)
    cells: dict[str, GradedCell] = {}
    reasons: dict[str, str] = {}
    for row in rows.to_dict("records"):
        key = row["key"]
        if pd.isna(row["n_wrong"]):
            reasons[key] = NO_TEST
            continue
        if row["attempt"] not in predicted:
            reasons[key] = NO_PREDICTIONS
            continue
        stored_test_set, classes = predicted[row["attempt"]]
        found = labels.of(stored_test_set, row)
        if isinstance(found, str):
            reasons[key] = found
            continue
        test_set, truth = found
        fitting = len(classes) == len(truth.classes)
        wrong: NDArray[np.bool_] = classes != truth.classes if fitting else np.zeros(0, bool)
        if not fitting or int(wrong.sum()) != row["n_wrong"]:
            if data_root is not None and stored_test_set not in labels.stored:
                raise UserError(
                    f"--data-root {data_root}: its {row['dataset']} is not what {row['label']} "
                    f"was tested on: the row says {row['n_wrong']} errors"
                )
            reasons[key] = "its stored predictions do not have the errors of its row"
            continue
        by_base_image = wrong.reshape(truth.repeats, -1)
        cells[key] = GradedCell(key, row["label"], test_set, by_base_image, classes, truth.classes)
    return Grades(cells, reasons)


class _Loader:
    """Labels of test sets, read once."""

    def __init__(self, store: Store, data_root: Path | None) -> None:
        self.stored = read_labels(store)
        self._store, self._root = store, data_root
        self._loaded: dict[str, StoredLabels | str] = {}

    def of(self, test_set: str | None, row: Mapping[Any, Any]) -> tuple[str, StoredLabels] | str:
        """Name and labels of a row's test set, or why there are none."""
        if test_set is not None and test_set in self.stored:
            return test_set, self.stored[test_set]
        try:
            cell = Cell.model_validate_json(row["spec"])
            name = test_set or cell.test_set
        except (ValidationError, KeyError):
            return NO_LABELS
        if cell.dataset not in self._loaded:
            self._loaded[cell.dataset] = self._load(cell)
        labels = self._loaded[cell.dataset]
        return labels if isinstance(labels, str) else (name, labels)

    def _load(self, cell: Cell) -> StoredLabels | str:
        folders = [Path(job["folder"]) for job in self._store.jobs() if job.get("folder")]
        try:
            load_plugins(cell.plugins, list(dict.fromkeys(folders)))
            entry = find_dataset(cell.dataset, self._root)
        except UserError as error:
            return f"the store has no labels of its test images: {error}"
        if self._root is None and entry.prepare is not None:
            return NO_LABELS
        try:
            from stn_cluster.data.labels import load_test_labels

            return StoredLabels(*load_test_labels(cell.dataset, self._root))
        except UserError as error:
            if self._root is not None:  # the user named it
                raise
            return f"the store has no labels of its test images: {error}"
        except ModuleNotFoundError:
            return NO_TORCH
