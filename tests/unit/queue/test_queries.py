"""Queries on jobs, cells and attempts."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from support.queues import HERE, QueueUnderTest, cells, end_of, pack
from support.records import make_cell

from stn_cluster.errors import UserError
from stn_cluster.queue import queries, submit
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.database import connect_reader
from stn_cluster.queue.jobs import CellState, CellStatus, JobPage, Page

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def shown(queue: QueueUnderTest, job_id: str, **chosen: Any) -> list[int]:
    """The seeds of some of a job's cells."""
    found, _ = queries.cells(queue.db, job_id, Page(**chosen))
    return [status.cell.seed for _, status in found]


def test_cells_are_told_in_the_jobs_order_in_pages(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(10)[::-1])
    assert shown(queue, "a") == list(range(10))[::-1]
    assert shown(queue, "a", limit=3) == [9, 8, 7]
    assert shown(queue, "a", offset=8, limit=3) == [1, 0]
    assert shown(queue, "a", offset=10) == []


def test_cells_are_told_by_state_and_with_their_attempt_while_they_run(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(5))
    done, failed, running = (queue.claim()[0] for _ in range(3))
    queue.succeed(done)
    queue.fail(failed, error="ValueError: no")
    assert shown(queue, "a", states=(SUCCEEDED, FAILED)) == [0, 1]
    assert shown(queue, "a", states=(QUEUED,), limit=1, offset=1) == [4]
    [(attempt, status)], _ = queries.cells(queue.db, "a", Page(states=(RUNNING,)))
    assert (attempt, status.step) == (running.id, 0)
    (_, first), (_, second), *others = queries.cells(queue.db, "a")[0]
    assert (first.test_error, first.error, first.step) == (5.0, None, first.cell.iterations)
    assert (second.test_error, second.error, second.step) == (None, "ValueError: no", 0)
    assert [one for one, _ in others] == [running.id, None, None]
    queue.cancel("a")
    assert shown(queue, "a", states=(CANCELLED,)) == [2, 3, 4]
    assert shown(queue, "a", states=(RUNNING, QUEUED)) == []


def test_only_what_has_changed_is_told_again_and_whatever_runs(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(6))
    _, last = queries.cells(queue.db, "a")
    assert queries.cells(queue.db, "a", Page(since=last)) == ([], last)
    first, second = queue.claim()[0], queue.claim()[0]
    queue.succeed(first)
    assert shown(queue, "a", since=last) == [0, 1]
    _, last = queries.cells(queue.db, "a", Page(since=last))
    assert shown(queue, "a", since=last) == [1]
    queue.requeue([second], ExitReason.DIED)
    assert shown(queue, "a", since=last) == [1]


def test_a_job_that_is_taken_up_again_tells_what_became_of_its_cells_meanwhile(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(2))
    queue.submit("b", cells(2))
    queue.cancel("a")
    queue.succeed(*queue.claim())
    _, last = queries.cells(queue.db, "a")
    queue.retry("a")
    changed, _ = queries.cells(queue.db, "a", Page(since=last))
    assert [status.state for _, status in changed] == [SUCCEEDED, QUEUED]


def test_a_change_while_cells_are_read_is_not_passed_over(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(4))
    running = queue.claim_all()
    reader = connect_reader(queue.folder)

    def change(_: str) -> None:
        if running:
            queue.succeed(running.pop())

    reader.set_trace_callback(change)  # before each statement
    seen: dict[str, CellStatus] = {}
    last = -1
    for _ in range(4):
        found, last = queries.cells(reader, "a", Page(since=last))
        seen |= {status.cell.key: status for _, status in found}
    assert not running
    assert {status.state for status in seen.values()} == {SUCCEEDED}
    reader.close()


def test_jobs_are_told_oldest_first_with_how_their_cells_stand(queue: QueueUnderTest) -> None:
    costs = [make_cell(seed=seed).model_copy(update={"cost": 2.0**seed}) for seed in range(4)]
    queue.submit("a", costs, priority=3)
    queue.submit("b", pack(2, seed=9))
    assert [job.job_id for job in queries.jobs(queue.db)] == ["a", "b"]
    status, left = queries.job_status(queue.db, "a")
    assert (status.state, status.priority, status.counts, left) == (QUEUED, 3, {QUEUED: 4}, 15.0)
    assert status.submitted_at is not None
    assert status.submitted_at.tzinfo is not None
    queue.succeed(*queue.claim())  # the costliest
    status, left = queries.job_status(queue.db, "a")
    assert (status.state, status.counts, left) == (RUNNING, {QUEUED: 3, SUCCEEDED: 1}, 7.0)
    with pytest.raises(UserError, match="unknown job 'c'"):
        queries.job_status(queue.db, "c")


def test_attempts_are_found_by_key_and_by_label_oldest_first(queue: QueueUnderTest) -> None:
    cell, revised = make_cell("ST-CNN", "tps", "RTS"), make_cell("ST-CNN", "tps", "RTS", revision=2)
    queue.submit("a", [cell, revised])
    queue.requeue(queue.claim(2), ExitReason.DIED, "out of memory")
    queue.succeed(*queue.claim())
    assert cell.label == revised.label == "ST-CNN/tps/RTS/seed0"
    of_one, of_both = queue.attempts(cell.key), queue.attempts(cell.label)
    assert [end_of(attempt).reason for attempt in of_one] == ["died", "succeeded"]
    assert [end_of(attempt).message for attempt in of_one] == ["out of memory", None]
    assert [attempt.pack_size for attempt in of_one] == [2, 1]
    assert [attempt.cell for attempt in of_both] == [cell, revised, cell]
    for attempt in of_both:
        ended_at = end_of(attempt).at
        assert ended_at is not None
        assert attempt.started_at <= ended_at
    assert {(attempt.job_id, attempt.worker) for attempt in of_both} == {("a", HERE)}


def test_an_unknown_cell_is_met_with_the_nearest_label(queue: QueueUnderTest) -> None:
    with pytest.raises(UserError, match=r"unknown cell 'CNN': give a label, as in ST-CNN/tps"):
        queue.attempts("CNN")
    queue.submit("a", [make_cell(), make_cell("ST-CNN", "affine", "RTS")])
    said = r"unknown cell 'ST-CNN/afine/RTS/seed0': did you mean 'ST-CNN/affine/RTS/seed0'\? give"
    with pytest.raises(UserError, match=said):
        queue.attempts("ST-CNN/afine/RTS/seed0")


def test_a_jobs_record_has_all_that_was_submitted_until_the_store_has_it(
    queue: QueueUnderTest,
) -> None:
    config = json.dumps({"name": "grid"})
    queue.submit("a", cells(3), config=config, folder="/configs", priority=2, force=True)
    queue.submit("b", cells(1))
    assert queries.unrecorded_jobs(queue.db) == ["a", "b"]
    record = json.loads(queries.job_record(queue.db, "a"))
    assert record.pop("submitted_at")
    expected = [cell.model_dump(mode="json") for cell in cells(3)]
    assert record == {
        "job_id": "a",
        "config": {"name": "grid"},
        "folder": "/configs",
        "priority": 2,
        "force": True,
        "cells": expected,
    }
    submit.mark_recorded(queue.db, "a")
    queue.restart()
    assert queries.unrecorded_jobs(queue.db) == ["b"]


def test_a_reader_sees_each_change_at_once_and_can_make_none(queue: QueueUnderTest) -> None:
    reader = connect_reader(queue.folder)
    queue.submit("a", cells(2))
    assert queries.job_status(reader, "a")[0].counts == {QUEUED: 2}
    queue.succeed(*queue.claim())
    assert queries.job_status(reader, "a")[0].counts == {QUEUED: 1, SUCCEEDED: 1}
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        submit.cancel(reader, "a")
    assert queue.state("a") is RUNNING
    reader.close()


def test_jobs_come_in_pages_from_either_end(queue: QueueUnderTest) -> None:
    for name in "abcde":
        queue.submit(name, cells(1))

    def told(**page: Any) -> str:
        return "".join(job.job_id for job in queries.jobs(queue.db, JobPage(**page)))

    assert told() == "abcde"
    assert told(newest_first=True) == "edcba"
    assert told(limit=2, newest_first=True) == "ed"
    assert told(limit=2, offset=2, newest_first=True) == "cb"
    assert told(limit=2, offset=4) == "e"
    assert told(offset=9) == ""
