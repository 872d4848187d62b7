"""Attempts end: whose result counts, whose death counts as a failure, what a restart finds."""

from __future__ import annotations

import pytest
from support.queues import HERE, QueueUnderTest, cells, end_of, ends_told, pack, seeds

from stn_cluster.queue import queries
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.claim import demand
from stn_cluster.queue.finish import MAX_FAILURES, MAX_NODE_LOSSES, finish, save_checkpoints
from stn_cluster.queue.jobs import CellState

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState
DEATHS = [ExitReason.DIED, ExitReason.EXPIRED]
ACCIDENTS = [ExitReason.INTERRUPTED, ExitReason.COORDINATOR_LOST]


# --- results ---


def test_a_result_counts_once_and_only_from_the_current_attempt(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    [old] = queue.claim()
    queue.requeue([old], ExitReason.EXPIRED)
    assert finish(queue.db, [queue.store(old)]) == [False]
    [new] = queue.claim()
    assert finish(queue.db, [queue.store(old)]) == [False]
    assert queue.state("a") is RUNNING
    result = queue.store(new)
    assert finish(queue.db, [result, result]) == [True, False]
    assert finish(queue.db, [queue.store(new, "ValueError: late")]) == [False]
    assert queue.state("a") is SUCCEEDED


def test_a_failure_ends_its_cell_and_leaves_its_pack_mates_running(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", pack(3))
    first, second, third = queue.claim(3)
    queue.fail(first, error="ValueError: the loss is not finite")
    assert queue.states("a") == [FAILED, RUNNING, RUNNING]
    queue.succeed(second, third)
    errors = [cell.error for _, cell in queries.cells(queue.db, "a")[0]]
    assert errors == ["ValueError: the loss is not finite", None, None]
    assert queue.state("a") is FAILED


# --- requeued ---


@pytest.mark.parametrize("reason", DEATHS)
def test_a_cell_that_dies_three_times_by_itself_is_exhausted_with_every_message(
    queue: QueueUnderTest, reason: ExitReason
) -> None:
    queue.submit("a", cells(1))
    queue.lose_workers(MAX_FAILURES - 1, reason)
    assert queue.exhausted() == []
    queue.restart()  # the count is durable
    [last] = queue.claim()
    queue.requeue([last], reason, "at last")
    assert queue.claim() == []
    assert demand(queue.db) == []
    queue.restart()
    [exhausted] = queue.exhausted()
    assert ends_told(exhausted) == [
        f"{reason}: message 0",
        f"{reason}: message 1",
        f"{reason}: at last",
    ]
    assert (exhausted.cell, exhausted.id, exhausted.job_id) == (cells(1)[0], last.id, "a")
    assert (exhausted.worker, exhausted.pack_size) == (HERE, 1)
    assert exhausted.started_at == last.started_at
    assert end_of(exhausted).reason is reason
    queue.fail(last, error="given up")
    assert queue.exhausted() == []
    assert queue.state("a") is FAILED


def test_a_cell_is_exhausted_at_the_twentieth_lost_node(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    queue.lose_workers(MAX_NODE_LOSSES - 1, ExitReason.NODE_LOST)
    assert queue.exhausted() == []
    queue.lose_workers(1, ExitReason.NODE_LOST)
    [exhausted] = queue.exhausted()
    assert ends_told(exhausted) == [
        f"node lost: message {number}" for number in (*range(MAX_NODE_LOSSES - 1), 0)
    ]
    assert queue.claim() == []
    assert not any(end_of(attempt).counts for attempt in queue.attempts(exhausted.cell.key))


def test_an_exhausted_cell_tells_of_the_ends_that_count_since_it_was_queued_anew(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.lose_workers(2)
    queue.fail(queue.claim()[0])
    queue.retry("a")
    reasons = [
        ExitReason.DIED,
        ExitReason.NODE_LOST,
        *ACCIDENTS,
        ExitReason.DIED,
        ExitReason.EXPIRED,
    ]
    for number, reason in enumerate(reasons):
        queue.requeue(queue.claim(), reason, str(number))
    [exhausted] = queue.exhausted()
    assert ends_told(exhausted) == ["died: 0", "node lost: 1", "died: 4", "expired: 5"]


@pytest.mark.parametrize("reason", [*ACCIDENTS, ExitReason.NODE_LOST])
def test_an_accident_does_not_count_as_a_failure_and_the_pack_stays_together(
    queue: QueueUnderTest, reason: ExitReason
) -> None:
    queue.submit("a", pack(3))
    for _ in range(5):
        assert len(queue.requeue(queue.claim(3), reason)) == 3
    assert len(queue.claim(3)) == 3
    assert queue.exhausted() == []


@pytest.mark.parametrize("reason", DEATHS)
def test_the_death_of_a_pack_counts_for_no_cell_and_each_is_tried_in_isolation(
    queue: QueueUnderTest, reason: ExitReason
) -> None:
    queue.submit("a", pack(5))
    dead = queue.claim(3)
    keys = [attempt.cell.key for attempt in dead]
    assert queue.requeue(dead, reason) == keys
    assert not any(end_of(queue.attempts(key)[0]).counts for key in keys)
    queue.restart()  # which cells are isolated is durable
    isolated = [queue.claim(8) for _ in range(3)]
    assert [[attempt.cell.key for attempt in attempts] for attempts in isolated] == [
        [key] for key in keys
    ]
    assert len(queue.claim(8)) == 2  # those that were not in it stay together
    queue.requeue(isolated[0], reason)
    assert [end_of(attempt).counts for attempt in queue.attempts(keys[0])] == [False, True]
    for attempts in isolated[1:]:
        queue.succeed(*attempts)
    queue.lose_workers(2)
    assert [exhausted.cell.key for exhausted in queue.exhausted()] == keys[:1]


def test_a_cell_queued_anew_may_be_in_a_pack_again(queue: QueueUnderTest) -> None:
    queue.submit("a", pack(2))
    queue.requeue(queue.claim(2), ExitReason.DIED)
    queue.cancel("a")
    queue.retry("a")
    assert len(queue.claim(2)) == 2


def test_only_the_cells_of_a_pack_that_had_not_ended_are_queued_again(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", pack(3))
    attempts = queue.claim(3)
    queue.succeed(attempts[0])
    queue.fail(attempts[1])
    assert queue.requeue(attempts, ExitReason.NODE_LOST) == [attempts[2].cell.key]
    assert queue.states("a") == [SUCCEEDED, FAILED, QUEUED]
    assert queue.requeue(attempts, ExitReason.NODE_LOST) == []


def test_a_cancelled_cell_is_no_longer_exhausted(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.lose_workers(MAX_FAILURES)
    queue.cancel("a")
    assert queue.exhausted() == []
    queue.retry("a")
    queue.lose_workers(MAX_FAILURES - 1)
    assert queue.exhausted() == []
    assert len(queue.claim()) == 1


# --- checkpoints ---


def test_a_requeued_cell_resumes_from_the_last_checkpoint_that_was_saved(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    [first] = queue.claim()
    assert first.resume_from is None
    earlier, later = (Checkpoint(first.id, step) for step in (2, 4))
    key = first.cell.key
    assert save_checkpoints(queue.db, [earlier]) == []
    assert save_checkpoints(queue.db, [later]) == [(key, earlier)]
    assert save_checkpoints(queue.db, [later]) == []
    queue.requeue([first], ExitReason.DIED)
    assert save_checkpoints(queue.db, [Checkpoint(first.id, 6)]) == []
    queue.restart()
    [second] = queue.claim()
    assert second.resume_from == later
    assert not second.is_first
    newer = Checkpoint(second.id, 6)
    assert save_checkpoints(queue.db, [newer]) == [(key, later)]
    queue.fail(second)
    queue.retry("a")
    assert queue.claim()[0].resume_from is None


# --- restarts ---


def test_a_restart_requeues_what_ran_without_counting_it_and_keeps_all_else(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(6))
    done, failed, running = (queue.claim()[0] for _ in range(3))
    queue.succeed(done)
    queue.fail(failed)
    saved = queue.save(running, 3)
    assert queue.restart() == (0, [(running.cell.key, running.id)])
    assert queue.states("a") == [SUCCEEDED, FAILED, *[QUEUED] * 4]
    [attempt] = queue.attempts(running.cell.key)
    end = end_of(attempt)
    assert (end.reason, end.counts) == (ExitReason.COORDINATOR_LOST, False)
    [again] = queue.claim()
    assert (again.cell, again.resume_from) == (running.cell, saved)
    assert finish(queue.db, [queue.store(running)]) == [False]


def test_a_restart_takes_results_from_the_store_that_the_queue_had_not_heard_of(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(4))
    first, second, third, _ = queue.claim_all()
    queue.store(first)
    queue.store(second, "ValueError: no")
    queue.requeue([third], ExitReason.DIED)
    ended, requeued = queue.restart()
    assert (ended, len(requeued)) == (2, 1)
    assert queue.states("a") == [SUCCEEDED, FAILED, QUEUED, QUEUED]
    [attempt] = queue.attempts(second.cell.key)
    assert end_of(attempt).reason is ExitReason.FAILED
    assert queue.restart() == (0, [])


def test_a_restart_does_not_take_an_earlier_result_for_that_of_a_forced_cell(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim())
    queue.submit("b", cells(1), force=True)
    queue.claim()
    ended, requeued = queue.restart()
    assert (ended, len(requeued)) == (0, 1)
    [attempt] = queue.claim()
    queue.store(attempt)
    assert queue.restart() == (1, [])
    assert queue.state("b") is SUCCEEDED


def test_a_failure_that_comes_after_its_cell_was_retried_is_refused_for_good(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    [attempt] = queue.claim()
    queue.cancel("a")
    queue.retry("a")
    assert finish(queue.db, [queue.store(attempt, "ValueError: no")]) == [False]
    assert queue.restart() == (0, [])
    assert queue.states("a") == [QUEUED]


def test_a_restart_fails_an_exhausted_cell_whose_failure_had_just_been_stored(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.lose_workers(MAX_FAILURES - 1)
    [last] = queue.claim()
    queue.requeue([last], ExitReason.DIED)
    queue.store(last, "given up")
    assert queue.restart() == (1, [])
    assert queue.exhausted() == []
    assert queue.states("a") == [FAILED]


def test_an_attempt_at_a_shared_cell_is_told_under_the_job_it_ran_for(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.submit("b", cells(1), priority=1)
    [claimed] = queue.claim()
    assert seeds([claimed]) == [0]
    queue.cancel("b")
    queue.succeed(claimed)
    [attempt] = queue.attempts(claimed.cell.key)
    assert attempt.job_id == "b"
    assert queue.states("a") == [SUCCEEDED]
    assert queue.states("b") == [CANCELLED]
