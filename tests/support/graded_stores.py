"""Stores whose predictions, labels and counts fit together, made without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.grid import NO_TRAINING, Cell, short_hash
from stn_cluster.store import Record, Store
from support.records import PREDICTIONS, make_cell, make_record

Wrong = NDArray[np.bool_]  # (images,)
Results = list[tuple[Cell, Wrong]]
CLASSES = 10


def labels_of(images: int) -> NDArray[np.int64]:
    """The same labels for every test set of a size."""
    return np.random.default_rng(images).integers(0, CLASSES, images)


def graded_record(
    cell: Cell, wrong: Wrong, *, labels: NDArray[Any] | None = None, version: int = 2, **row: Any
) -> Record:
    """A success that gets just these images wrong; version 1 has neither test set nor others."""
    truth = labels_of(len(wrong)) if labels is None else labels
    predicted = np.where(wrong, (truth + 1) % CLASSES, truth)
    counts = {"n_test": len(wrong), "n_wrong": int(wrong.sum())}
    record = make_record(cell, error=100 * float(wrong.mean()), **counts, **row)
    record.row["test_accuracy"] = 1 - float(wrong.mean())
    predictions = PREDICTIONS | {
        "test_set": name_of_test_set(cell) if version == 2 else None,
        "predictions": predicted.tolist(),
        "second": None,
        "confidence": None,
        "second_confidence": None,
    }
    return replace(record, predictions=predictions)


def name_of_test_set(cell: Cell) -> str:
    return short_hash([cell.dataset, cell.distortion], digits=16)


def commit(store: Store, results: Results, *, repeats: int = 1, version: int = 2) -> None:
    """Adds successes and, in version 2, their test sets."""
    sets = {
        name_of_test_set(cell): {
            "test_set": name_of_test_set(cell),
            "dataset": cell.dataset,
            "revision": "1",
            "repeats": repeats,
            "labels": labels_of(len(wrong)).tolist(),
            "class_names": None,
        }
        for cell, wrong in results
    }
    records = [graded_record(cell, wrong, version=version) for cell, wrong in results]
    store.commit(records, list(sets.values()) if version == 2 else ())


def evaluated(
    model: str = "mine", distortion: str = "R", dataset: str = "digits", digest: str = "a"
) -> Cell:
    """A cell that is evaluated and not trained."""
    network = {"name": "CNN", "weights": "mine.pt", "digest": digest}
    cell = make_cell(model, "none", distortion, dataset=dataset, recipe=NO_TRAINING)
    return Cell.model_validate(cell.model_dump() | {"network": network})


def drawn(
    errors: Mapping[tuple[str, str], float],
    *,
    distortions: tuple[str, ...] = ("R", "E"),
    seeds: int = 1,
    images: int = 2000,
    dataset: str = "digits",
    recipe: str = "smoke",
) -> Results:
    """Results of a grid: rows with their true errors; harder images are harder for all."""
    rng = np.random.default_rng(0)
    found: Results = []
    for distortion in distortions:
        hardness = rng.standard_normal(images)
        for (model, transform), error in errors.items():
            for seed in range(seeds):
                cell = make_cell(model, transform, distortion, seed, dataset, recipe)
                score = 0.9 * hardness + 0.44 * rng.standard_normal(images)
                found.append((cell, score > np.quantile(score, 1 - error)))
    return found
