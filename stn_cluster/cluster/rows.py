"""Conversions of an attempt and its outcome to rows of the store, and of rows for the queue."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

import stn_cluster
from stn_cluster.errors import error_line, storable
from stn_cluster.provenance import git_commit
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.store import Record, Store
from stn_cluster.training.outcome import MANY_CLASSES, Labels, Outcome, Predictions


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
        "status": (CellState.SUCCEEDED if outcome.error is None else CellState.FAILED).value,
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
    )


def stored_results(store: Store) -> KnownResults:
    """Reads the results of all cells of a store.

    Raises:
        StoreError: it cannot be read.
    """
    columns = ["key", "attempt", "status", "accepted_at", "test_error", "error"]
    rows = store.read("cells", columns=columns)
    times = rows["accepted_at"].cast("int64").to_pylist()
    others = [rows[name].to_pylist() for name in ("key", "attempt", "status")]
    numbers = rows["test_error"].to_pylist(), rows["error"].to_pylist()
    return KnownResults(
        StoredResult(key, attempt, time, error)
        if status == "succeeded"
        else StoredResult(key, attempt, time, None, error_line(text or ""))
        for key, attempt, status, time, error, text in zip(*others, times, *numbers, strict=True)
    )
