"""Jobs that have ended are forgotten, with what no other job wants, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.queues import QueueUnderTest, cells, evaluations, seeds

from stn_cluster.errors import NotFoundError
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.database import QueueError
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.old_jobs import (
    Forgotten,
    forget,
    pruned_jobs,
    queued_jobs,
    shrink,
    size,
    unfinished_keys,
)

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def ended(queue: QueueUnderTest) -> dict[str, bool]:
    return {job.job_id: job.ended_at is not None for job in queued_jobs(queue.db)}


def test_a_job_has_ended_once_nothing_of_it_is_queued_or_running(queue: QueueUnderTest) -> None:
    before = datetime.now(UTC)
    queue.submit("a", cells(2))
    assert ended(queue) == {"a": False}
    first, second = queue.claim_all()
    queue.succeed(first)
    assert ended(queue) == {"a": False}
    queue.fail(second)
    [job] = queued_jobs(queue.db)
    assert job.ended_at is not None
    assert before < job.ended_at < datetime.now(UTC) + timedelta(seconds=1)
    assert job.keys == {cell.key for cell in cells(2)}
    queue.retry("a")
    assert ended(queue) == {"a": False}
    queue.cancel("a")
    assert ended(queue) == {"a": True}


@pytest.mark.parametrize("time", ["x", "2026-01-01T00:00:00", 5])
def test_a_time_that_is_none_is_told_with_its_job(queue: QueueUnderTest, time: object) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    queue.db.execute("UPDATE attempts SET ended_at = ?", (time,))
    with pytest.raises(QueueError, match=r"queue\.sqlite: a time of job 'a' is none: "):
        queued_jobs(queue.db)


def test_a_job_whose_cell_another_one_trains_again_has_not_ended(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    queue.submit("again", cells(1), force=True)
    assert ended(queue) == {"a": False, "again": False}
    assert unfinished_keys(queue.db) == {cells(1)[0].key}


def test_cells_that_are_still_to_be_evaluated_are_needed(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim_all())
    [due] = evaluations(*cells(1))
    queue.submit("tests", (), evaluations=(due,))
    assert unfinished_keys(queue.db) == {due.key, cells(1)[0].key}


def test_a_forgotten_job_is_told_by_its_name_and_leaves_the_others(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(3))
    queue.succeed(*queue.claim_all())
    queue.submit("b", cells(2, first=2))  # has the third cell, too
    queue.succeed(*queue.claim_all())
    assert forget(queue.db, ["a"]) == Forgotten(jobs=1, items=2, attempts=2)
    today = datetime.now(UTC).date()
    with pytest.raises(NotFoundError, match=f"^job 'a' was pruned on {today}; its results are"):
        queries.job_status(queue.db, "a")
    assert pruned_jobs(queue.db) == {"a"}
    assert queue.states("b") == [SUCCEEDED, SUCCEEDED]
    [attempt] = queue.attempts(cells(1, first=2)[0].key)  # for the forgotten job
    assert (attempt.job_id, attempt.cell.recipe) == ("a", "smoke")
    assert queries.totals(queue.db).jobs == 1
    with pytest.raises(NotFoundError):
        queue.attempts(cells(1)[0].key)
    assert forget(queue.db, ["a"]) == Forgotten()


def test_a_forgotten_job_can_be_submitted_again(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.succeed(*queue.claim_all())
    forget(queue.db, ["a"])
    assert queue.submit("a", cells(2))
    assert queue.states("a") == [SUCCEEDED, SUCCEEDED]  # the store has them
    assert pruned_jobs(queue.db) == set()


def test_a_later_job_with_the_number_of_a_forgotten_one_has_none_of_its_cells(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(1))
    queue.submit("b", cells(1))
    queue.succeed(*queue.claim_all())
    queue.submit("c", cells(1, first=5))
    queue.succeed(*queue.claim_all())
    forget(queue.db, ["a", "c"])
    queue.submit("d", cells(2, first=7))
    assert seeds(queue.claim_all(only="d")) == [7, 8]
    queue.submit("e", cells(1), force=True)
    assert seeds(queue.claim_all()) == [0]


def test_what_is_unfinished_is_not_forgotten(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.cancel("a")
    queue.submit("b", cells(1))
    assert forget(queue.db, ["a"]) == Forgotten(jobs=1, items=1)
    assert queue.states("b") == [QUEUED]
    [attempt] = queue.claim_all()
    queue.requeue([attempt], ExitReason.INTERRUPTED)
    assert forget(queue.db, [], [attempt.id]) == Forgotten()  # its last one
    [again] = queue.claim_all()
    queue.succeed(again)
    assert forget(queue.db, [], [attempt.id, again.id]) == Forgotten(attempts=1)
    assert [a.id for a in queue.attempts(cells(1)[0].key)] == [again.id]


def test_the_file_shrinks(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2000))
    queue.cancel("a")
    before = size(queue.db)
    forget(queue.db, ["a"])
    shrink(queue.db)
    assert size(queue.db) < before / 10
    queue.db.close()
    queue.restart()
    assert (queue.folder / "queue.sqlite").stat().st_size == size(queue.db)
