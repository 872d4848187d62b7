"""An attempt and its outcome as a row of the store."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import stn_cluster
from stn_cluster.cluster.job import State
from stn_cluster.cluster.messages import WorkerInfo, utc_now
from stn_cluster.grid import Cell
from stn_cluster.store import Record
from stn_cluster.training.outcome import MANY_CLASSES, Labels, Outcome, Predictions


@dataclass(frozen=True)
class Attempt:
    """One try at a cell."""

    job_id: str
    cell: Cell
    attempt: str  # a UUID, never reused
    started_at: datetime  # UTC
    worker: WorkerInfo
    pack_size: int


def to_record(attempt: Attempt, outcome: Outcome) -> Record:
    """The rows that the store keeps of an ended attempt."""
    cell = attempt.cell
    wrong = None
    if outcome.n_test and outcome.n_wrong is not None:
        wrong = outcome.n_wrong / outcome.n_test
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
        "attempt": attempt.attempt,
        "status": (State.SUCCEEDED if outcome.error is None else State.FAILED).value,
        # Whatever a traceback quotes, it becomes text that can be stored.
        "error": outcome.error and outcome.error.encode("utf-8", "replace").decode(),
        "test_error": None if wrong is None else 100 * wrong,
        "test_accuracy": None if wrong is None else 1 - wrong,
        "n_test": outcome.n_test,
        "n_wrong": outcome.n_wrong,
        "train_loss": outcome.train_loss,
        "parameters": outcome.parameters,
        "iterations": outcome.iterations,
        "images_per_second": outcome.images_per_second,
        "train_seconds": outcome.train_seconds,
        "pack_size": attempt.pack_size,
        "device": attempt.worker.device or None,  # '' where it died before it could say
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
    """The row that the store keeps of a test set, but its schema_version."""
    return {
        "test_set": labels.test_set,
        "dataset": labels.dataset,
        "revision": labels.revision,
        "repeats": labels.repeats,
        "labels": np.frombuffer(labels.classes, "<u2"),
        "class_names": labels.class_names,
    }


def _predictions(found: Predictions) -> dict[str, Any]:
    wide = found.n_classes > MANY_CLASSES
    first, second = (
        np.frombuffer(c, "<u2" if wide else "<u1") for c in (found.first, found.second)
    )
    return {
        "test_set": found.test_set,
        "predictions": None if wide else first,
        "second": None if wide else second,
        "confidence": np.frombuffer(found.confidence, "<u2"),
        "second_confidence": np.frombuffer(found.second_confidence, "<u2"),
        "predictions_wide": first if wide else None,
        "second_wide": second if wide else None,
    }


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the running code, '+' behind it if files differ; None outside a checkout."""
    folder = Path(stn_cluster.__file__).parent
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env=environment,
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != folder.parent:
            return None  # installed inside some other project's checkout
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
