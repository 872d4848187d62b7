"""Rows: an attempt and its outcome as the store has them, and as the queue gets to know them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.records import make_cell

import stn_cluster
from stn_cluster.cluster.rows import stored_results, to_record, to_stored_result, to_test_set
from stn_cluster.grid import Cell
from stn_cluster.provenance import git_commit
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.queue.known_results import StoredResult
from stn_cluster.store import Store
from stn_cluster.store.schema import SCHEMAS
from stn_cluster.training.outcome import CurvePoint, Labels, Outcome, Predictions

STARTED = datetime(2026, 1, 31, 18, 45, tzinfo=UTC)
CELL = make_cell("ST-CNN", "tps", "P:xy-42", seed=3)
ATTEMPT = Attempt(
    id="an-attempt",
    cell=CELL,
    job_id="a-job",
    pack_size=4,
    worker=WorkerInfo("a-host", "a-device", "2.11", node="a-node", process=5),
    started_at=STARTED,
)


def wide(*numbers: int) -> bytes:
    """Numbers as little-endian uint16."""
    return b"".join(number.to_bytes(2, "little") for number in numbers)


PREDICTIONS = Predictions(
    test_set="0123456789abcdef",
    n_classes=256,
    first=bytes([0, 1, 255]),
    second=bytes([1, 0, 4]),
    confidence=wide(65_535, 40_000, 300),
    second_confidence=wide(0, 20_000, 299),
)


def outcome(**fields: Any) -> Outcome:
    """A success, but for these fields."""
    made: dict[str, Any] = {
        "predictions": PREDICTIONS,
        "confusion": (3, 0, 1, 4),
        "n_test": 200,
        "n_wrong": 7,
        "train_loss": 0.25,
        "parameters": 1000,
        "iterations": 8,
        "train_seconds": 1.5,
        "images_per_second": 85.0,
        "curve": (
            CurvePoint(step=4, train_loss=0.5, lr=0.01),
            CurvePoint(step=8, train_loss=0.25, lr=0.02, test_error=3.5),
        ),
        "weights": b"weights",
    }
    return Outcome(key=CELL.key, **{**made, **fields})


def test_a_success_is_a_row_of_all_columns_with_curve_and_predictions() -> None:
    before = datetime.now(UTC)
    record = to_record(ATTEMPT, outcome())
    assert before <= record.row.pop("finished_at") <= datetime.now(UTC)
    assert Cell.model_validate_json(record.row.pop("spec")) == CELL
    assert record.row == {
        "key": CELL.key,
        "label": "ST-CNN/tps/P:xy-42/seed3",
        "model": "ST-CNN",
        "transform": "tps",
        "distortion": "P:xy-42",
        "seed": 3,
        "dataset": "digits",
        "recipe": "smoke",
        "job_id": "a-job",
        "attempt": "an-attempt",
        "status": "succeeded",
        "error": None,
        "test_error": pytest.approx(3.5),
        "test_accuracy": pytest.approx(0.965),
        "n_test": 200,
        "n_wrong": 7,
        "train_loss": 0.25,
        "parameters": 1000,
        "iterations": 8,
        "images_per_second": 85.0,
        "train_seconds": 1.5,
        "pack_size": 4,
        "device": "a-device",
        "host": "a-host",
        "started_at": STARTED,
        "stn_cluster_version": stn_cluster.__version__,
        "git_commit": git_commit(),
        "torch_version": "2.11",
        "confusion": [3, 0, 1, 4],
    }
    assert record.curve == (
        {"step": 4, "train_loss": 0.5, "lr": 0.01, "test_error": None},
        {"step": 8, "train_loss": 0.25, "lr": 0.02, "test_error": 3.5},
    )
    assert lists(record.predictions) == {
        "test_set": "0123456789abcdef",
        "predictions": [0, 1, 255],
        "second": [1, 0, 4],
        "confidence": [65_535, 40_000, 300],
        "second_confidence": [0, 20_000, 299],
        "predictions_wide": None,
        "second_wide": None,
    }


def lists(columns: dict[str, Any] | None) -> dict[str, Any]:
    """Columns with lists in place of arrays."""
    assert columns is not None
    return {
        name: list(value) if hasattr(value, "tolist") else value for name, value in columns.items()
    }


def test_classes_beyond_256_are_stored_in_the_wide_columns() -> None:
    many = Predictions(
        test_set="0123456789abcdef",
        n_classes=257,
        first=wide(256, 1),
        second=wide(3, 256),
        confidence=wide(4, 5),
        second_confidence=wide(2, 1),
    )
    columns = lists(to_record(ATTEMPT, outcome(predictions=many)).predictions)
    assert (columns["predictions_wide"], columns["second_wide"]) == ([256, 1], [3, 256])
    assert (columns["predictions"], columns["second"]) == (None, None)
    assert (columns["confidence"], columns["second_confidence"]) == ([4, 5], [2, 1])


def test_labels_are_a_row_of_test_sets() -> None:
    labels = Labels(
        test_set="0123456789abcdef",
        dataset="signs",
        revision="2",
        repeats=3,
        classes=wide(0, 300, 65_535),
        class_names=("stop", "caf\udce9"),  # a folder's name may be no text
    )
    row = to_test_set(labels)
    assert lists(row) == {
        "test_set": "0123456789abcdef",
        "dataset": "signs",
        "revision": "2",
        "repeats": 3,
        "labels": [0, 300, 65_535],
        "class_names": ["stop", "caf?"],
    }
    assert {*row, "schema_version"} == set(SCHEMAS["test_sets"].names)


def test_the_columns_are_those_of_the_schema_but_what_the_store_adds() -> None:
    record = to_record(ATTEMPT, outcome())
    assert {*record.row, "accepted_at", "schema_version"} == set(SCHEMAS["cells"].names)
    origin = {"key", "attempt", "schema_version"}
    assert {*(record.predictions or {}), *origin} == set(SCHEMAS["predictions"].names)
    assert {*record.curve[0], *origin} == set(SCHEMAS["curves"].names)


def test_a_failure_has_its_text_and_the_numbers_until_then() -> None:
    text = "Traceback:\n  File x\nKeyError: 'a'"
    failed = outcome(
        error=text, predictions=None, confusion=None, n_test=None, n_wrong=None, weights=None
    )
    record = to_record(ATTEMPT, failed)
    assert (record.row["status"], record.row["error"]) == ("failed", text)
    empty = ("test_error", "test_accuracy", "n_test", "n_wrong", "confusion")
    assert [record.row[name] for name in empty] == [None] * 5
    assert record.row["iterations"] == 8
    assert len(record.curve) == 2
    assert record.predictions is None


def test_a_worker_that_died_before_it_told_where_it_runs_leaves_no_names() -> None:
    nowhere = Attempt("a", CELL, "j", 1, WorkerInfo("", "", ""), STARTED)
    row = to_record(nowhere, Outcome(key=CELL.key, error="died")).row
    assert (row["device"], row["host"], row["torch_version"]) == (None, None, None)


def test_the_device_is_the_one_that_the_outcome_names() -> None:
    assert to_record(ATTEMPT, outcome(device="another")).row["device"] == "another"


def test_a_success_without_a_test_has_no_test_error_in_the_store_nor_in_the_queue() -> None:
    untested = outcome(n_test=None, n_wrong=None, predictions=None, confusion=None)
    row = to_record(ATTEMPT, untested).row
    assert (row["status"], row["test_error"], row["test_accuracy"]) == ("succeeded", None, None)
    result = to_stored_result(ATTEMPT, untested, STARTED)
    assert (result.test_error, result.error) == (None, None)


def test_the_queue_gets_the_test_error_and_the_time_of_acceptance_in_microseconds() -> None:
    accepted_at = STARTED + timedelta(microseconds=7)
    assert to_stored_result(ATTEMPT, outcome(), accepted_at) == StoredResult(
        key=CELL.key,
        attempt="an-attempt",
        accepted_at=1769885100000007,
        test_error=pytest.approx(3.5),
    )


def test_the_queue_gets_the_line_of_a_failure_and_no_test_error() -> None:
    failed = outcome(error="Traceback:\n  File x\nKeyError: 'a'")
    result = to_stored_result(ATTEMPT, failed, STARTED)
    assert (result.error, result.test_error) == ("KeyError: 'a'", None)


def test_an_error_that_utf8_does_not_hold_can_be_stored_everywhere(store: Store) -> None:
    failed = outcome(error="FileNotFoundError: no file b\udcff.npz")  # as os.fsdecode names it
    record = to_record(ATTEMPT, failed)
    [accepted_at] = store.commit([record])
    assert record.row["error"] == "FileNotFoundError: no file b?.npz"
    result = to_stored_result(ATTEMPT, failed, accepted_at)
    assert result.error == "FileNotFoundError: no file b?.npz"
    assert stored_results(store).after(CELL.key, 0) == result


def test_results_that_are_read_from_the_store_are_those_that_were_committed(store: Store) -> None:
    committed = []
    outcomes = [
        outcome(error="ValueError: no\n"),
        outcome(),
        outcome(n_wrong=9),
        outcome(error="KeyError: 'a'"),
        outcome(error=""),
        outcome(n_test=None, n_wrong=None),
    ]
    for number, made in enumerate(outcomes):
        attempt = Attempt(f"a{number}", CELL, "j", 1, ATTEMPT.worker, STARTED)
        [accepted_at] = store.commit([to_record(attempt, made)])
        committed.append(to_stored_result(attempt, made, accepted_at))
    known = stored_results(store)
    assert known.success(CELL.key) == committed[-1]
    assert known.watermark == committed[-1].accepted_at
    for number in range(len(committed)):
        expected = next((r for r in reversed(committed[number:]) if r.error is None), None)
        assert known.after(CELL.key, committed[number].accepted_at - 1) == expected
    assert json.loads(store.results(latest=False)["spec"].iloc[0])["seed"] == 3


def test_a_store_without_rows_has_no_results(store: Store) -> None:
    known = stored_results(store)
    assert (known.watermark, known.success(CELL.key)) == (0, None)
