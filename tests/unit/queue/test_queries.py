"""What the queue tells of jobs, cells and attempts."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from support.queues import HERE, Service, cells, pack
from support.records import make_cell

from stn_cluster.errors import UserError
from stn_cluster.queue import ExitReason, Queue
from stn_cluster.queue.jobs import CellState, CellStatus, Page

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def shown(queue: Queue, job_id: str, **chosen: Any) -> list[int]:
    """The seeds of some of a job's cells."""
    found, _ = queue.cells(job_id, Page(**chosen))
    return [status.cell.seed for _, status in found]


def test_cells_are_told_in_the_jobs_order_in_pages(service: Service) -> None:
    service.submit("a", cells(10)[::-1])
    assert shown(service.queue, "a") == list(range(10))[::-1]
    assert shown(service.queue, "a", limit=3) == [9, 8, 7]
    assert shown(service.queue, "a", offset=8, limit=3) == [1, 0]
    assert shown(service.queue, "a", offset=10) == []


def test_cells_are_told_by_state_and_with_their_attempt_while_they_run(service: Service) -> None:
    service.submit("a", cells(5))
    done, failed, running = (service.claim()[0] for _ in range(3))
    service.succeed(done)
    service.fail(failed, error="ValueError: no")
    assert shown(service.queue, "a", states=(SUCCEEDED, FAILED)) == [0, 1]
    assert shown(service.queue, "a", states=(QUEUED,), limit=1, offset=1) == [4]
    [(attempt, status)], _ = service.queue.cells("a", Page(states=(RUNNING,)))
    assert (attempt, status.step) == (running.assignment.attempt, 0)
    (_, first), (_, second), *others = service.queue.cells("a")[0]
    assert (first.test_error, first.error, first.step) == (5.0, None, first.cell.iterations)
    assert (second.test_error, second.error, second.step) == (None, "ValueError: no", 0)
    assert [one for one, _ in others] == [running.assignment.attempt, None, None]
    service.queue.cancel("a")
    assert shown(service.queue, "a", states=(CANCELLED,)) == [2, 3, 4]
    assert shown(service.queue, "a", states=(RUNNING, QUEUED)) == []


def test_only_what_has_changed_is_told_again_and_whatever_runs(service: Service) -> None:
    service.submit("a", cells(6))
    _, last = service.queue.cells("a")
    assert service.queue.cells("a", Page(since=last)) == ([], last)
    first, second = service.claim()[0], service.claim()[0]
    service.succeed(first)
    assert shown(service.queue, "a", since=last) == [0, 1]
    _, last = service.queue.cells("a", Page(since=last))
    assert shown(service.queue, "a", since=last) == [1]
    service.lose([second], ExitReason.DIED)
    assert shown(service.queue, "a", since=last) == [1]


def test_a_job_that_is_taken_up_again_tells_what_became_of_its_cells_meanwhile(
    service: Service,
) -> None:
    service.submit("a", cells(2))
    service.submit("b", cells(2))
    service.queue.cancel("a")
    service.succeed(*service.claim())
    _, last = service.queue.cells("a")
    service.queue.retry("a", service.ends)
    changed, _ = service.queue.cells("a", Page(since=last))
    assert [status.state for _, status in changed] == [SUCCEEDED, QUEUED]


def test_a_change_while_cells_are_read_is_not_passed_over(service: Service) -> None:
    service.submit("a", cells(4))
    claims = service.claim_all()
    reader = Queue(service.folder, reads_only=True)

    def change(_: str) -> None:
        if claims:
            service.succeed(claims.pop())

    reader._db.set_trace_callback(change)  # before each statement
    seen: dict[str, CellStatus] = {}
    last = -1
    for _ in range(4):
        found, last = reader.cells("a", Page(since=last))
        seen |= {status.cell.key: status for _, status in found}
    assert not claims
    assert {status.state for status in seen.values()} == {SUCCEEDED}
    reader.close()


def test_jobs_are_told_oldest_first_with_how_their_cells_stand(service: Service) -> None:
    costs = [make_cell(seed=seed).model_copy(update={"cost": 2.0**seed}) for seed in range(4)]
    service.submit("a", costs, priority=3)
    service.submit("b", pack(2, seed=9))
    assert [job.job_id for job in service.queue.jobs()] == ["a", "b"]
    status, left = service.queue.job("a")
    assert (status.state, status.priority, status.counts, left) == (QUEUED, 3, {QUEUED: 4}, 15.0)
    assert status.submitted_at is not None
    assert status.submitted_at.tzinfo is not None
    service.succeed(*service.claim())  # the costliest
    status, left = service.queue.job("a")
    assert (status.state, status.counts, left) == (RUNNING, {QUEUED: 3, SUCCEEDED: 1}, 7.0)
    with pytest.raises(UserError, match="unknown job 'c'"):
        service.queue.job("c")


def test_attempts_are_found_by_key_and_by_label_oldest_first(service: Service) -> None:
    cell, revised = make_cell("ST-CNN", "tps", "RTS"), make_cell("ST-CNN", "tps", "RTS", revision=2)
    service.submit("a", [cell, revised])
    service.lose(service.claim(2), ExitReason.DIED, "out of memory")
    service.succeed(*service.claim())
    assert cell.label == revised.label == "ST-CNN/tps/RTS/seed0"
    of_one, of_both = service.queue.attempts(cell.key), service.queue.attempts(cell.label)
    assert [row.ending for row in of_one] == ["died", "succeeded"]
    assert [row.reason for row in of_one] == ["out of memory", None]
    assert [row.pack_size for row in of_one] == [2, 1]
    assert [row.key for row in of_both] == [cell.key, revised.key, cell.key]
    assert all(row.started_at <= row.ended_at for row in of_both if row.ended_at)
    assert {(row.job_id, row.worker) for row in of_both} == {("a", HERE)}


def test_an_unknown_cell_is_met_with_the_nearest_label(service: Service) -> None:
    with pytest.raises(UserError, match=r"unknown cell 'CNN': give a label, as in ST-CNN/tps"):
        service.queue.attempts("CNN")
    service.submit("a", [make_cell(), make_cell("ST-CNN", "affine", "RTS")])
    said = r"unknown cell 'ST-CNN/afine/RTS/seed0': did you mean 'ST-CNN/affine/RTS/seed0'\? give"
    with pytest.raises(UserError, match=said):
        service.queue.attempts("ST-CNN/afine/RTS/seed0")


def test_a_jobs_record_has_all_that_was_submitted_until_the_store_has_it(
    service: Service,
) -> None:
    config = json.dumps({"name": "grid"})
    service.submit("a", cells(3), config=config, folder="/configs", priority=2, force=True)
    service.submit("b", cells(1))
    assert service.queue.unrecorded() == ["a", "b"]
    record = service.queue.job_record("a")
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
    service.queue.note_recorded("a")
    service.restart()
    assert service.queue.unrecorded() == ["b"]


def test_a_reader_sees_each_change_at_once_and_can_make_none(service: Service) -> None:
    reader = Queue(service.folder, reads_only=True)
    service.submit("a", cells(2))
    assert reader.job("a")[0].counts == {QUEUED: 2}
    service.succeed(*service.claim())
    assert reader.job("a")[0].counts == {QUEUED: 1, SUCCEEDED: 1}
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.cancel("a")
    assert service.state("a") is RUNNING
    reader.close()
