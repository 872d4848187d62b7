"""Jobs are cancelled, and tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.queues import QueueUnderTest, cells

from stn_cluster.errors import UserError
from stn_cluster.queue import queries
from stn_cluster.queue.finish import finish
from stn_cluster.queue.jobs import CellState, Job

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def test_a_cancelled_cell_resumes_from_its_checkpoint_and_a_forced_one_starts_anew(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    [attempt] = queue.claim()
    saved = queue.save(attempt, 4)
    assert queue.cancel("a") == [attempt.id]
    assert queue.retry("a") == 1
    [attempt] = queue.claim()
    assert attempt.resume_from == saved
    queue.cancel("a")
    queue.submit("b", cells(1))
    [attempt] = queue.claim()
    assert attempt.resume_from == saved
    queue.cancel("b")
    queue.submit("c", cells(1), force=True)
    [attempt] = queue.claim()
    assert attempt.resume_from is None


def test_retry_queues_failed_and_cancelled_cells_with_a_new_count_of_attempts(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(4))
    queue.lose_workers(2)
    first, second, third = (queue.claim()[0] for _ in range(3))
    queue.fail(first)
    queue.succeed(second)
    assert queue.cancel("a") == [third.id]
    assert queue.states("a") == [FAILED, SUCCEEDED, CANCELLED, CANCELLED]
    assert queue.retry("a") == 3
    assert queue.states("a") == [QUEUED, SUCCEEDED, QUEUED, QUEUED]
    assert queue.state("a") is RUNNING
    queue.lose_workers(2)
    assert queue.exhausted() == []
    queue.succeed(*queue.claim_all())
    assert queue.state("a") is SUCCEEDED


def test_cancel_and_retry_change_nothing_about_an_ended_job_and_refuse_an_unknown_one(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(2))
    queue.succeed(*queue.claim_all())
    assert queue.cancel("a") == []
    assert queue.retry("a") == 0
    assert queue.state("a") is SUCCEEDED
    changes: list[Callable[[str], object]] = [queue.cancel, queue.retry]
    for change in changes:
        with pytest.raises(UserError, match="unknown job 'aa': did you mean 'a'"):
            change("aa")


@pytest.mark.parametrize("test_error", [5.0, 0.0, None])
def test_cancelling_a_forced_job_leaves_the_earlier_jobs_results_tested_or_not(
    queue: QueueUnderTest, test_error: float | None
) -> None:
    queue.submit("a", cells(3))
    queue.succeed(*queue.claim_all(), test_error=test_error)
    queue.submit("again", cells(3), force=True)
    [attempt] = queue.claim()
    assert queue.cancel("again") == [attempt.id]
    assert queue.claim_all() == []
    assert queue.states("again") == [CANCELLED] * 3
    assert queue.states("a") == [SUCCEEDED] * 3
    assert queue.test_errors("a") == [test_error] * 3
    assert queue.retry("again") == 3
    assert len(queue.claim_all()) == 3


@pytest.mark.parametrize("test_error", [5.0, None])
def test_retry_of_an_unforced_job_leaves_what_has_succeeded_meanwhile_tested_or_not(
    queue: QueueUnderTest, test_error: float | None
) -> None:
    queue.submit("a", cells(2))
    queue.cancel("a")
    queue.submit("b", cells(1))
    queue.succeed(*queue.claim_all(), test_error=test_error)
    assert queue.retry("a") == 1
    assert queue.states("a") == [SUCCEEDED, QUEUED]
    assert queue.test_errors("a") == [test_error, None]


def test_a_failure_of_a_forced_training_does_not_undo_the_success_before_it(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim())
    queue.submit("again", cells(1), force=True)
    queue.fail(*queue.claim())
    assert queue.states("a") == [FAILED]
    assert queue.test_errors("a") == [None]
    assert queue.retry("again") == 1
    queue.cancel("again")
    assert queue.states("a") == [SUCCEEDED]
    assert queue.test_errors("a") == [5.0]


def test_cancelling_a_job_that_tried_failures_again_ends_it(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.fail(*queue.claim_all())
    queue.submit("b", cells(2), priority=-1)
    assert queue.cancel("a") == []  # it had ended
    assert queue.cancel("b") == []
    assert queue.claim_all() == []
    assert queue.state("b") is CANCELLED


def test_the_newest_unfinished_job_that_asks_for_the_same_is_found(queue: QueueUnderTest) -> None:
    digest = Job("other-id", cells(2)).digest
    assert queries.unfinished_like(queue.db, digest) is None
    for job_id in ("a", "b"):
        queue.submit(job_id, cells(2))
    queue.submit("forced", cells(2), force=True)
    assert queries.unfinished_like(queue.db, digest) == "b"
    queue.cancel("b")
    assert queries.unfinished_like(queue.db, digest) == "a"
    queue.succeed(*queue.claim_all())
    assert queries.unfinished_like(queue.db, digest) is None


def test_a_retry_takes_a_result_that_came_just_after_the_cancellation(
    queue: QueueUnderTest,
) -> None:
    queue.submit("j", cells(1))
    [attempt] = queue.claim()
    queue.cancel("j")
    late = queue.store(attempt)
    assert finish(queue.db, [late]) == [False]
    assert queue.retry("j") == 0
    assert queue.state("j") is CellState.SUCCEEDED
    assert not queue.claim()


def test_the_checkpoint_of_a_cancelled_rerun_stays_for_its_retry(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    queue.submit("first", [cell])
    queue.succeed(*queue.claim())
    assert queries.ended_keys(queue.db) == {cell.key}
    queue.submit("rerun", [cell], force=True)
    [attempt] = queue.claim()
    checkpoint = queue.save(attempt, 4)
    queue.cancel("rerun")
    assert queries.ended_keys(queue.db) == set()
    queue.retry("rerun")
    [again] = queue.claim()
    assert again.resume_from == checkpoint
