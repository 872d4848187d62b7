"""Conversions of an attempt and its outcome to rows of the store, and of rows for the queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

import stn_cluster
from stn_cluster.errors import error_line, storable
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.provenance import git_commit
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.store import Record, Store
from stn_cluster.training.outcome import (
    MANY_CLASSES,
    MEASURES,
    Labels,
    Outcome,
    Predictions,
)

_AT_ONCE = 10_000  # rows of the store that are Python objects at once


def to_record(attempt: Attempt, outcome: Outcome) -> Record:
    """Converts an ended attempt to the store's rows."""
    cell = attempt.cell
    error_rate = outcome.error_rate
    row = {
        "key": cell.key,
        "label": cell.label,
        "model": cell.model,
        "transform": cell.transform,
        "distortion": cell.distortion,
        "seed": cell.seed,
        "dataset": cell.dataset,
        "recipe": cell.recipe,
        "job_id": attempt.job_id,
        "attempt": attempt.id,
        "status": _status(outcome),
        "error": None if outcome.error is None else storable(outcome.error),
        "test_error": outcome.test_error,
        "test_accuracy": None if error_rate is None else 1 - error_rate,
        "n_test": outcome.n_test,
        "n_wrong": outcome.n_wrong,
        "train_loss": outcome.train_loss,
        "parameters": outcome.parameters,
        "iterations": outcome.iterations,
        "images_per_second": outcome.images_per_second,
        "train_seconds": outcome.train_seconds,
        "pack_size": attempt.pack_size,
        # The worker's fields are '' if it died before it reported them.
        "device": outcome.device or attempt.worker.device or None,
        "host": attempt.worker.host or None,
        "started_at": attempt.started_at,
        "finished_at": utc_now(),
        "stn_cluster_version": stn_cluster.__version__,
        "git_commit": git_commit(),
        "torch_version": attempt.worker.torch_version or None,
        "spec": cell.model_dump_json(),
        "confusion": None if outcome.confusion is None else list(outcome.confusion),
    }
    curve = tuple(asdict(point) for point in outcome.curve)
    predictions = None if outcome.predictions is None else _predictions(outcome.predictions)
    return Record(row=row, curve=curve, predictions=predictions)


def to_evaluation(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    """Converts an ended attempt at an evaluation to the store's row of it.

    Its `attempt` is the one whose weights were evaluated: that to which it belongs.
    """
    evaluation = attempt.evaluation
    assert evaluation is not None
    tested = evaluation.test.cell
    clean = evaluation.on == CLEAN
    predicted = {"predictions": None, "predictions_wide": None}
    if outcome.predictions is not None:
        found = _predictions(outcome.predictions)
        predicted = {name: found[name] for name in predicted}
    return {
        "evaluation": evaluation.key,
        "key": attempt.cell.key,
        "attempt": attempt.weights_attempt,
        "weights": evaluation.weights,
        "test_set": evaluation.test.name,
        "dataset": tested.dataset,
        "distortion": CLEAN if clean else tested.distortion_name,
        "variant": "plain" if clean else tested.variant,
        "canvas": tested.canvas,
        "severity": evaluation.test.severity,
        "worst_of": evaluation.test.worst_of,
        "status": _status(outcome),
        "error": None if outcome.error is None else storable(outcome.error),
        "n_test": outcome.n_test,
        "n_wrong": outcome.n_wrong,
        **dict.fromkeys(MEASURES),
        **outcome.measures,
        **predicted,
        "device": outcome.device or attempt.worker.device or None,
        "job_id": attempt.job_id,
    }


def _status(outcome: Outcome) -> str:
    return (CellState.SUCCEEDED if outcome.error is None else CellState.FAILED).value


def to_test_set(labels: Labels) -> dict[str, Any]:
    """Converts labels to the store's row of a test set, without schema_version."""
    return {
        "test_set": labels.test_set,
        "dataset": labels.dataset,
        "revision": labels.revision,
        "repeats": labels.repeats,
        "labels": np.frombuffer(labels.classes, "<u2"),
        "class_names": labels.class_names and [storable(name) for name in labels.class_names],
    }


def _predictions(predictions: Predictions) -> dict[str, Any]:
    wide = predictions.n_classes > MANY_CLASSES
    kind = "<u2" if wide else "<u1"
    first, second = (np.frombuffer(c, kind) for c in (predictions.first, predictions.second))
    return {
        "test_set": predictions.test_set,
        "predictions": None if wide else first,
        "second": None if wide else second,
        "confidence": np.frombuffer(predictions.confidence, "<u2"),
        "second_confidence": np.frombuffer(predictions.second_confidence, "<u2"),
        "predictions_wide": first if wide else None,
        "second_wide": second if wide else None,
    }


def to_stored_result(attempt: Attempt, outcome: Outcome, accepted_at: datetime) -> StoredResult:
    """Converts an ended attempt to the result that the queue keeps."""
    return StoredResult(
        key=outcome.key,
        attempt=attempt.id,
        accepted_at=round(accepted_at.timestamp() * 1e6),
        test_error=outcome.test_error if outcome.error is None else None,
        error=None if outcome.error is None else error_line(storable(outcome.error)),
        weights_attempt=attempt.weights_attempt,
    )


def stored_results(store: Store) -> KnownResults:
    """Reads the results of all cells and evaluations of a store.

    Raises:
        StoreError: it cannot be read.
    """
    columns = ["key", "attempt", "status", "accepted_at", "test_error", "error"]
    known = KnownResults(
        StoredResult(row["key"], row["attempt"], *_told(row, row["test_error"]))
        for row in _rows(store.read("cells", columns))
    )
    columns = ["evaluation", "attempt", "status", "accepted_at", "n_test", "n_wrong", "error"]
    known.add(
        StoredResult(
            row["evaluation"],
            None,
            *_told(row, 100 * row["n_wrong"] / row["n_test"] if row["n_test"] else None),
            weights_attempt=row["attempt"],
        )
        for row in _rows(store.read("evaluations", columns))
    )
    return known


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    index = table.schema.get_field_index("accepted_at")
    times = table["accepted_at"].cast("int64")
    for batch in table.set_column(index, "accepted_at", times).to_batches(_AT_ONCE):
        yield from batch.to_pylist()


def _told(row: dict[str, Any], test_error: float | None) -> tuple[int, float | None, str | None]:
    """Time, test error and error of a row."""
    if row["status"] == CellState.SUCCEEDED:
        return row["accepted_at"], test_error, None
    return row["accepted_at"], None, error_line(row["error"] or "")
