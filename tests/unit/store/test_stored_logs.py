"""Logs of attempts from the store alone: also of attempts that did not end their cell."""

from __future__ import annotations

import pytest
from support.records import make_cell, make_evaluation_row, make_record

from stn_cluster.errors import NotFoundError
from stn_cluster.store import Store, stored_logs

CELL = make_cell("CNN")


def test_the_logs_of_all_attempts_are_found_by_label_and_by_key(any_store: Store) -> None:
    failed = make_record(CELL, error=None)
    attempt = failed.row["attempt"]
    any_store.logs.append(CELL.key, "a-lost-one", "1 died\n")
    any_store.logs.append(CELL.key, attempt, "2 failed: ValueError: the loss is not finite\n")
    any_store.commit([failed])
    for name in (CELL.label, CELL.key):
        lost, last = stored_logs(any_store, name)
        assert (lost.attempt, lost.ending, lost.text) == ("a-lost-one", "no result", "1 died\n")
        assert (last.key, last.attempt) == (CELL.key, attempt)
        assert (last.ending, last.job_id) == ("failed", "job-1")
        assert last.text == "2 failed: ValueError: the loss is not finite\n"


def test_without_a_log_the_rows_error_is_shown(store: Store) -> None:
    record = make_record(CELL, error=None)
    record.row["error"] = "Traceback\n  File\nValueError: \x1b[31mred\x1b[0m"
    store.commit([record, make_record(CELL)])
    failed, succeeded = stored_logs(store, CELL.label)
    assert failed.text == "Traceback\n  File\nValueError: red\n"
    assert (succeeded.ending, succeeded.text) == ("succeeded", "")


def test_the_log_of_a_cell_without_a_result_is_found_by_its_job(store: Store) -> None:
    cells = [CELL.model_dump(mode="json")]
    store.write_job("j", {"job_id": "j", "submitted_at": "2025", "cells": cells})
    store.logs.append(CELL.key, "a", "1 begins\n")
    [log] = stored_logs(store, CELL.label)
    assert log.text == "1 begins\n"


def test_the_logs_of_an_evaluation_are_found_by_its_id(store: Store) -> None:
    store.commit([make_record(CELL, attempt="a")])
    rows = [make_evaluation_row(CELL, "E", error, "a") for error in (None, 2.5)]
    name = rows[0]["evaluation"]
    for row, attempt in zip(rows, ("x", "y"), strict=True):
        store.logs.append(name, attempt, f"{attempt} ends\n")
        store.commit_evaluations([row])
    failed, succeeded = stored_logs(store, name)
    assert (failed.attempt, failed.ending, failed.job_id) == ("x", "failed", rows[0]["job_id"])
    assert failed.text.startswith("x ends\n")
    assert rows[0]["error"] in failed.text
    assert (succeeded.attempt, succeeded.ending) == ("y", "succeeded")
    assert (succeeded.key, succeeded.text) == (name, "y ends\n")


def test_a_lost_attempt_at_an_evaluation_has_no_result_and_a_lost_log_no_text(store: Store) -> None:
    store.commit([make_record(CELL, attempt="a")])
    row = make_evaluation_row(CELL, "E", 2.5, "a")
    store.commit_evaluations([row])
    [log] = stored_logs(store, row["evaluation"])
    assert (log.attempt, log.ending, log.text) == ("(unknown)", "succeeded", "")
    for attempt in ("lost", "last"):
        store.logs.append(row["evaluation"], attempt, "begins\n")
    lost, last = stored_logs(store, row["evaluation"])
    assert [(log.attempt, log.ending) for log in (lost, last)] == [
        ("lost", "no result"),
        ("last", "succeeded"),
    ]


def test_an_unknown_cell_is_told_with_the_nearest(store: Store) -> None:
    store.commit([make_record(CELL)])
    with pytest.raises(NotFoundError, match="did you mean 'CNN/none/R/seed0'"):
        stored_logs(store, "CNN/none/R/seed")
