"""A store with something for each part of a report, made without training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stn_cluster.config_file import parse_config
from stn_cluster.data.labels import load_test_labels
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.store import SCHEMA_VERSION, Store, Verification, add_verifications
from support.graded_stores import commit, drawn, graded_record
from support.records import make_cell, make_record

FAILURE = "ValueError: </script><img src=x onerror=alert(1)> {{ 7 * 7 }} $x_1$ & 100%"


def digits_cells(*models: str, distortions: tuple[str, ...] = ("clean",)) -> list[Cell]:
    """Cells as a config gives them, whose images can be made."""
    fields = {"models": list(models), "distortions": list(distortions)}
    return resolve(parse_config({"recipe": "smoke", **fields}))


def commit_digits(store: Store, cells: list[Cell]) -> None:
    """Adds successes on the real labels: base images have several versions."""
    labels, repeats = load_test_labels("digits", None)
    rng = np.random.default_rng(1)
    hardness = np.tile(rng.standard_normal(len(labels) // repeats), repeats)
    records = []
    for number, cell in enumerate(cells):
        score = hardness + rng.standard_normal(len(labels))
        wrong = score > np.quantile(score, 0.97 - 0.02 * number)
        record = graded_record(cell, wrong, labels=labels)
        assert record.predictions is not None
        predictions = {**record.predictions, "test_set": cell.test_set}
        counts = np.zeros((10, 10), int)
        np.add.at(counts, (labels, np.asarray(predictions["predictions"])), 1)
        row = {**record.row, "confusion": counts.ravel().tolist()}
        records.append(replace(record, row=row, predictions=predictions))
    row = {"dataset": "digits", "revision": "1", "repeats": repeats, "class_names": None}
    sets = [{"test_set": cell.test_set, "labels": labels.tolist(), **row} for cell in cells]
    store.commit(records, list({one["test_set"]: one for one in sets}.values()))


def fill(store: Store) -> list[Cell]:
    """Two data sets, a failure, an evaluation and a verification; returns the cells of digits."""
    cells = digits_cells("CNN", "ST-CNN")
    commit_digits(store, cells)
    errors = {("CNN", "none"): 0.05, ("ST-CNN", "affine"): 0.02, ("ST-CNN", "tps"): 0.025}
    commit(store, drawn(errors, distortions=("R", "E"), dataset="letters", images=1000))
    failed = make_record(make_cell("FCN", "none", dataset="letters"), None)
    store.commit([replace(failed, row={**failed.row, "error": FAILURE})])
    attempts = {row["key"]: row["attempt"] for row in store.results().to_dict("records")}
    store.add("evaluations", [evaluation(cells[0], attempts[cells[0].key])])
    verified = [(cells[0], 0, True), (cells[1], 7, False)]
    add_verifications(
        store,
        [
            Verification(
                *(cell.key, attempts[cell.key], "cpu", "2.11", 3600, differ, identical),
                datetime(2026, 5, 4, tzinfo=UTC),
            )
            for cell, differ, identical in verified
        ],
    )
    return cells


def evaluation(cell: Cell, attempt: str, **columns: Any) -> dict[str, Any]:
    """A row of `evaluations`: 30 of 1,000 images wrong, with a known pose."""
    pose = {
        f"{what}_{measure}": value
        for what, factor in (("pose", 1), ("identity", 4))
        for measure, value in (
            ("degrees", 5.0 * factor),
            ("log2_scale", None),
            ("shift_px", 0.5 * factor),
            ("residual_px", 0.25 * factor),
        )
    }
    return {
        "evaluation": "0123456789abcdef",
        "key": cell.key,
        "attempt": attempt,
        "weights": cell.key,
        "test_set": "fedcba9876543210",
        "dataset": cell.dataset,
        "distortion": "R",
        "variant": "plain",
        "canvas": 28,
        "severity": 2.0,
        "worst_of": 10,
        "status": "succeeded",
        "error": None,
        "n_test": 1000,
        "n_wrong": 30,
        "ink_lost": None,
        **pose,
        "predictions": None,
        "predictions_wide": None,
        "device": "cpu",
        "job_id": "job-1",
        "accepted_at": datetime(2026, 5, 4, tzinfo=UTC),
        "schema_version": SCHEMA_VERSION,
        **columns,
    }
