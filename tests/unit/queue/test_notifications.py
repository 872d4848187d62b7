"""Ended jobs and failed cells are told, once each, whatever ends them and whatever dies."""

from __future__ import annotations

from typing import Any

import pytest
from support.queues import QueueUnderTest, cells, evaluations

from stn_cluster.queue import notifications
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.notifications import (
    MAX_AGE_SECONDS,
    MAX_TRIES,
    Given,
    due,
    set_targets,
    settle,
)
from stn_cluster.queue.old_jobs import forget


@pytest.fixture
def queue(queue: QueueUnderTest) -> QueueUnderTest:
    set_targets(queue.db, ["target"])
    return queue


def told(queue: QueueUnderTest, target: str = "target") -> list[dict[str, Any]]:
    return [notification.body for notification in due(queue.db, target, 1000)]


def events(queue: QueueUnderTest, target: str = "target") -> list[tuple[str, ...]]:
    """What was told: of jobs their ids and states, of cells their labels."""
    return [
        ("ended", body["job"]["job_id"], body["job"]["state"])
        if body["event"] == "job_ended"
        else ("failed", body["cell"]["label"])
        for body in told(queue, target)
    ]


LABEL = cells(1)[0].label


def test_the_end_of_a_job_is_told_with_its_counts(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    first, second = queue.claim_all()
    queue.succeed(first)
    assert events(queue) == []
    queue.succeed(second)
    [body] = told(queue)
    assert {name: body[name] for name in ("version", "event", "failed")} == {
        "version": 1,
        "event": "job_ended",
        "failed": [],
    }
    assert len(body["id"]) == 32
    assert body["at"].endswith("Z")
    job = body["job"]
    assert (job["job_id"], job["state"], job["total"]) == ("a", "succeeded", 2)
    assert job["counts"] == {"succeeded": 2}


def test_a_failed_cell_is_told_with_its_error_and_its_jobs(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.submit("b", cells(1))
    first, second = queue.claim_all()
    queue.fail(first, error="ValueError: no\x1b[0m")
    failed, ended = told(queue)
    cell = failed["cell"]
    assert (cell["label"], cell["key"], cell["attempt"]) == (LABEL, first.cell.key, first.id)
    assert cell["error"].startswith("ValueError: no")
    assert "\x1b" not in cell["error"]
    assert (cell["recipe"], cell["tested_on"]) == ("smoke", None)
    assert [(job["job_id"], job["state"]) for job in failed["jobs"]] == [
        ("a", "running"),
        ("b", "failed"),
    ]
    assert ended["failed"] == [cell]
    queue.succeed(second)
    assert events(queue)[1:] == [("ended", "b", "failed"), ("ended", "a", "failed")]


def test_each_way_to_end_is_told_once(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    queue.submit("stored", cells(1))
    queue.submit("cancelled", cells(1, first=1))
    queue.cancel("cancelled")
    queue.cancel("cancelled")
    queue.retry("cancelled")
    queue.lose_workers(3)
    [exhausted] = queue.exhausted()
    queue.fail(exhausted, error="given up")
    queue.retry("a")  # nothing to do
    assert events(queue) == [
        ("ended", "a", "succeeded"),
        ("ended", "stored", "succeeded"),
        ("ended", "cancelled", "cancelled"),
        ("failed", cells(1, first=1)[0].label),
        ("ended", "cancelled", "failed"),
    ]


def test_evaluations_that_fail_with_their_cell_are_told(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    queue.submit("a", [cell], evaluations=evaluations(cell))
    queue.fail(*queue.claim_all())
    assert events(queue) == [
        ("failed", LABEL),
        ("failed", f"{LABEL} on E"),
        ("ended", "a", "failed"),
    ]


def test_a_job_whose_cell_is_trained_again_meanwhile_is_told_later(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.succeed(*queue.claim())
    queue.submit("again", cells(1), force=True)
    queue.succeed(*queue.claim(only="a"))
    assert events(queue) == []
    queue.succeed(*queue.claim_all())
    assert events(queue) == [("ended", "a", "succeeded"), ("ended", "again", "succeeded")]


def test_what_ends_while_the_coordinator_is_dead_is_told_when_it_is_back(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(2))
    first, second = queue.claim_all()
    queue.store(first)  # the store has it, and the queue does not know
    queue.requeue([second], ExitReason.INTERRUPTED)
    queue.store(queue.claim_all()[0], "ValueError: no")
    set_targets(queue.db, ["target"])
    queue.restart()
    assert events(queue) == [
        ("failed", cells(2)[1].label),
        ("ended", "a", "failed"),
    ]
    set_targets(queue.db, ["target"])
    queue.restart()
    assert len(told(queue)) == 2


def test_nobody_is_told_of_what_ended_before(queue: QueueUnderTest) -> None:
    set_targets(queue.db, [])
    queue.submit("a", cells(2))
    queue.submit("b", cells(1))
    first, second = queue.claim_all()
    queue.fail(first)
    set_targets(queue.db, ["target"])
    assert events(queue) == []
    queue.succeed(second)
    assert events(queue) == [("ended", "a", "failed")]


def test_each_target_is_told_by_itself(queue: QueueUnderTest) -> None:
    set_targets(queue.db, ["target", "other"])
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    [mine], [others] = due(queue.db, "target", 9), due(queue.db, "other", 9)
    assert mine.body == others.body
    assert settle(queue.db, [Given(mine.number)]) == []
    assert settle(queue.db, [Given(mine.number)]) == []
    assert (len(told(queue)), len(told(queue, "other"))) == (0, 1)


def test_what_is_not_delivered_is_due_later_and_later_until_it_is_given_up(
    queue: QueueUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1e9
    monkeypatch.setattr(notifications.time, "time", lambda: now)
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    [one] = due(queue.db, "target", 9)
    pauses = []
    for _ in range(MAX_TRIES - 1):
        before = now
        assert settle(queue.db, [Given(one.number, "HTTP 500")]) == []
        while not due(queue.db, "target", 9):
            now += 1
        pauses.append(now - before)
        if now - 1e9 > MAX_AGE_SECONDS:
            break
    assert pauses[:5] == [2, 4, 8, 16, 32]
    assert max(pauses) == 3600
    assert settle(queue.db, [Given(one.number, "HTTP 500")]) == [one.number]
    assert queue.db.execute("SELECT count(*) FROM notifications").fetchone()[0] == 0


def test_what_is_not_delivered_outlives_its_job_and_a_while_its_target(
    queue: QueueUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit("a", cells(1))
    queue.fail(*queue.claim_all())
    before = told(queue)
    forget(queue.db, ["a"])
    assert told(queue) == before
    assert set_targets(queue.db, ["new"]) == 0
    assert told(queue) == before
    later = notifications.time.time() + MAX_AGE_SECONDS + 1
    monkeypatch.setattr(notifications.time, "time", lambda: later)
    assert set_targets(queue.db, ["target"]) == 0
    assert set_targets(queue.db, []) == 2


def test_what_was_made_before_the_clock_was_set_back_is_due(
    queue: QueueUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 2e9
    monkeypatch.setattr(notifications.time, "time", lambda: now)
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    now = 1e9
    [one] = due(queue.db, "target", 9)
    assert settle(queue.db, [Given(one.number, "HTTP 500")]) == []
    assert due(queue.db, "target", 9) == []
    now += 2
    assert due(queue.db, "target", 9) == [one]
