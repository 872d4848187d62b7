"""Records of attempts for the tests of the store and of the table."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from stn_cluster.evaluations import Evaluation, EvaluationSet
from stn_cluster.grid import Cell, short_hash
from stn_cluster.registry import names, parse_distortion
from stn_cluster.store import EVALUATIONS, Record

# Predictions and true classes of three images.
PREDICTIONS: dict[str, Any] = {
    "test_set": "0123456789abcdef",
    "predictions": [0, 1, 9],
    "second": [1, 0, 4],
    "confidence": [65_535, 40_000, 30_000],
    "second_confidence": [0, 20_000, 29_999],
    "predictions_wide": None,
    "second_wide": None,
}
TEST_SET: dict[str, Any] = {
    "test_set": "0123456789abcdef",
    "dataset": "digits",
    "revision": "2",
    "repeats": 1,
    "labels": [0, 1, 4],
    "class_names": None,
}


def make_cell(
    model: str = "CNN",
    transform: str = "none",
    distortion: str = "R",
    seed: int = 0,
    dataset: str = "digits",
    recipe: str = "smoke",
    revision: int = 1,
) -> Cell:
    """Resolved cell; `revision` is its model's, so that another revision gives another key."""
    base, _, variant = distortion.partition(":")
    canvas = 28
    if base in names("distortion"):
        _, variant, canvas, _ = parse_distortion(distortion)
    return Cell(
        model=model,
        transform=transform,
        distortion=distortion,
        variant=variant or "plain",
        canvas=canvas,
        seed=seed,
        dataset=dataset,
        recipe=recipe,
        settings={"iterations": 8, "batch_size": 16, "recipe": recipe},
        revisions={f"model:{model}": revision},
    )


def make_evaluation(cell: Cell, on: str = "E", **test: Any) -> Evaluation:
    """Evaluation of a cell on a distortion; `test`: fields of its `EvaluationSet`."""
    name, variant, canvas, distortion = parse_distortion(on)
    revisions = {**cell.revisions, f"dataset:{cell.dataset}": 1, f"distortion:{name}": 1}
    fields = {"distortion": distortion, "variant": variant, "canvas": canvas}
    tested = cell.model_copy(update={**fields, "revisions": revisions})
    return Evaluation(cell=cell, test=EvaluationSet(cell=tested, **test), on=on)


def make_evaluation_row(
    cell: Cell | None = None,
    on: str = "E",
    error: float | None = 2.5,
    attempt: str = "a",
    **columns: Any,
) -> dict[str, Any]:
    """A row of `evaluations`: succeeded with this error (percent), or failed if it is None."""
    cell = cell or make_cell()
    ok = error is not None
    name, _, variant = on.partition(":")
    test = columns.get("severity", 1.0), columns.get("worst_of", 1)
    row: dict[str, Any] = dict.fromkeys(EVALUATIONS.names)
    del row["accepted_at"], row["schema_version"]
    return row | {
        "evaluation": short_hash([cell.key, on, *test], 16),
        "key": cell.key,
        "attempt": attempt,
        "weights": cell.key,
        "test_set": short_hash([on, *test], 16),
        "dataset": cell.dataset,
        "distortion": name,
        "variant": variant or parse_distortion(name)[1],
        "canvas": cell.canvas,
        "severity": 1.0,
        "worst_of": 1,
        "status": "succeeded" if ok else "failed",
        "error": None if ok else "ValueError: no",
        "n_test": 200 if ok else None,
        "n_wrong": round(2 * error) if error is not None else None,
        "ink_lost": 0.25 if ok else None,
        "predictions": [0, 1, 9] if ok else None,
        "device": "cpu",
        "job_id": "job-1",
        **columns,
    }


def make_record(cell: Cell | None = None, error: float | None = 1.5, **columns: Any) -> Record:
    """An ended attempt at a cell: succeeded with this error (percent), or failed if it is None."""
    cell = cell or make_cell()
    ok = error is not None
    now = datetime.now(UTC)
    row: dict[str, Any] = {
        **cell.model_dump(include={"model", "transform", "distortion", "seed"}),
        **cell.model_dump(include={"dataset", "recipe"}),
        "key": cell.key,
        "label": cell.label,
        "job_id": "job-1",
        "attempt": str(uuid.uuid4()),
        "status": "succeeded" if ok else "failed",
        "error": None if ok else "ValueError: the loss is not finite",
        "test_error": error,
        "test_accuracy": 1 - error / 100 if error is not None else None,
        "n_test": 200 if ok else None,
        "n_wrong": round(2 * error) if error is not None else None,
        "train_loss": 0.25 if ok else None,
        "parameters": 1000 if ok else None,
        "iterations": 8 if ok else None,
        "images_per_second": 100.0 if ok else None,
        "train_seconds": 1.0 if ok else None,
        "pack_size": 2,
        "device": "cpu",
        "host": "here",
        "started_at": now,
        "finished_at": now,
        "stn_cluster_version": "0.1.0",
        "git_commit": None,
        "torch_version": "2.11",
        "spec": json.dumps(cell.model_dump(mode="json")),
        "confusion": [3, 0, 1, 4] if ok else None,
    }
    curve = (
        {"step": 0, "train_loss": 2.3, "lr": 0.01, "test_error": None},
        {"step": 7, "train_loss": 0.25, "lr": 0.01, "test_error": error},
    )
    return Record(row | columns, curve if ok else (), PREDICTIONS if ok else None)
