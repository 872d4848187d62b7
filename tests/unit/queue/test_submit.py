"""Jobs in the queue: each is accepted once, they share cells, and are claimed in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.queues import QueueUnderTest, cells, pack, seeds
from support.records import make_cell

from stn_cluster.errors import UserError
from stn_cluster.grid import Needs
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.claim import demand
from stn_cluster.queue.jobs import CellState

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


# --- submission ---


def test_a_submission_a_hundred_times_over_is_one_job(queue: QueueUnderTest) -> None:
    assert queue.submit("a", cells(3))
    assert not any(queue.submit("a", cells(3)) for _ in range(99))
    assert [job.job_id for job in queries.jobs(queue.db)] == ["a"]
    assert queue.states("a") == [QUEUED] * 3
    queue.succeed(*queue.claim_all())
    assert not queue.submit("a", cells(3), force=False)
    assert queue.states("a") == [SUCCEEDED] * 3


@pytest.mark.parametrize(
    "other",
    [
        {"wanted": cells(2)},
        {"wanted": cells(3), "priority": 1},
        {"wanted": cells(3), "force": True},
        {"wanted": cells(3), "config": '{"name": "other"}'},
        {"wanted": cells(3)[::-1]},
    ],
)
def test_an_id_is_taken_for_good_and_another_job_under_it_changes_nothing(
    queue: QueueUnderTest, other: dict[str, object]
) -> None:
    queue.submit("a", cells(3))
    with pytest.raises(UserError, match="'a' is already used by a job with other content"):
        queue.submit("a", **other)  # type: ignore[arg-type]
    assert queue.states("a") == [QUEUED] * 3
    assert queries.job_status(queue.db, "a")[0].priority == 0
    assert len(queue.claim_all()) == 3


def test_a_success_in_the_store_is_queued_again_only_by_force(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.succeed(*queue.claim_all())
    queue.submit("b", cells(3))
    assert queue.states("b") == [SUCCEEDED, SUCCEEDED, QUEUED]
    assert [cell.stored for _, cell in queries.cells(queue.db, "b")[0]] == [True, True, False]
    assert seeds(queue.claim_all()) == [2]
    queue.submit("forced", cells(2), force=True)
    assert seeds(queue.claim_all()) == [0, 1]


def test_a_failure_is_tried_again_by_the_next_submission(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(2))
    queue.fail(*queue.claim_all())
    assert queue.state("a") is FAILED
    queue.submit("b", cells(2))
    assert queue.states("b") == [QUEUED] * 2
    again = queue.claim_all()
    queue.succeed(*again)
    assert queue.state("b") is SUCCEEDED
    assert queue.states("a") == [SUCCEEDED] * 2  # what has become of its cells, it sees too


def test_results_are_found_though_the_queue_never_had_the_cells(
    queue: QueueUnderTest, tmp_path: Path
) -> None:
    queue.submit("a", cells(2))
    queue.succeed(*queue.claim_all())
    other = QueueUnderTest(tmp_path / "other")
    other.known.add(queue.stored)
    other.submit("a", cells(2))
    status, left = queries.job_status(other.db, "a")
    assert (status.state, status.counts, left) == (SUCCEEDED, {SUCCEEDED: 2}, 0)
    assert other.test_errors("a") == [5.0, 5.0]
    assert other.claim_all() == []
    other.close()


@pytest.mark.parametrize("force", [False, True])
def test_a_success_without_a_test_is_a_success(
    queue: QueueUnderTest, tmp_path: Path, force: bool
) -> None:
    """So it is for the next job, also in a queue that never had the cell, and when it is forced."""
    queue.submit("a", cells(1))
    queue.succeed(*queue.claim(), test_error=None)
    assert queue.states("a") == [SUCCEEDED]
    [(_, status)], _ = queries.cells(queue.db, "a")
    assert (status.test_error, status.step) == (None, status.cell.iterations)
    other = QueueUnderTest(tmp_path / "other")
    other.known.add(queue.stored)
    for each in (queue, other):
        each.submit("b", cells(1), force=force)
        assert each.states("b") == [QUEUED if force else SUCCEEDED]
        assert len(each.claim()) == force
        if force:
            each.cancel("b")
    assert queue.states("a") == [SUCCEEDED]
    other.close()


# --- shared cells ---


def test_shared_cells_are_trained_once_and_both_jobs_see_it(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(4))
    queue.submit("b", cells(4, first=2))
    attempts = queue.claim_all()
    assert seeds(attempts) == [0, 1, 2, 3, 4, 5]
    assert [attempt.job_id for attempt in attempts] == ["a"] * 4 + ["b"] * 2
    queue.succeed(*attempts)
    assert queue.states("a") == queue.states("b") == [SUCCEEDED] * 4


@pytest.mark.parametrize(("cancelled", "other"), [("a", "b"), ("b", "a")])
def test_cancelling_one_of_two_jobs_leaves_the_other_whole(
    queue: QueueUnderTest, cancelled: str, other: str
) -> None:
    queue.submit("a", cells(4))
    queue.submit("b", cells(4, first=2))
    running = [attempt for _ in range(3) for attempt in queue.claim()]
    mine = [attempt.id for attempt in running if attempt.cell.seed < 2]
    assert queue.cancel(cancelled) == (mine if cancelled == "a" else [])
    assert queue.state(cancelled) is CANCELLED
    assert queue.states(cancelled) == [CANCELLED] * 4
    queue.succeed(running[2])
    queue.succeed(*queue.claim_all(), *(running[:2] if cancelled == "b" else []))
    assert queue.states(other) == [SUCCEEDED] * 4
    assert queue.states(cancelled) == [CANCELLED] * 4
    assert queue.claim_all() == []


def test_each_job_has_its_own_name_for_a_cells_recipe(queue: QueueUnderTest) -> None:
    mine, theirs = (make_cell().model_copy(update={"recipe": name}) for name in ("mine", "theirs"))
    assert mine.key == theirs.key
    queue.submit("a", [mine])
    queue.submit("b", [theirs], priority=1)
    shown = [queries.cells(queue.db, job_id)[0][0][1].cell.recipe for job_id in ("a", "b")]
    assert shown == ["mine", "theirs"]
    [attempt] = queue.claim()
    assert (attempt.job_id, attempt.cell) == ("b", theirs)
    queue.requeue([attempt], ExitReason.NODE_LOST)
    queue.cancel("b")
    [attempt] = queue.claim()
    assert (attempt.job_id, attempt.cell) == ("a", mine)
    assert json.loads(queries.job_record(queue.db, "b"))["cells"][0]["recipe"] == "theirs"
    assert [attempt.cell for attempt in queue.attempts(mine.key)] == [theirs, mine]


# --- order ---


def test_jobs_come_by_priority_then_by_age(queue: QueueUnderTest) -> None:
    for number, priority in enumerate([0, 2, 1, 2, -1]):
        queue.submit(f"job-{number}", cells(1, first=number), priority=priority)
    assert [attempt.job_id[-1] for attempt in queue.claim_all()] == ["1", "3", "2", "0", "4"]


def test_within_a_job_the_costliest_come_first_then_its_own_order(queue: QueueUnderTest) -> None:
    costs = [1.0, 3.0, 2.0, 3.0, 0.5]
    wanted = [
        cell.model_copy(update={"cost": cost}) for cell, cost in zip(cells(5), costs, strict=True)
    ]
    queue.submit("a", wanted)
    assert seeds(queue.claim_all()) == [1, 3, 2, 0, 4]


def test_a_later_job_of_higher_priority_pulls_shared_cells_forward_and_lets_them_fall_back(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(4))
    queue.submit("b", [*cells(1, first=3), *cells(1, first=9)], priority=5)
    queue.submit("c", cells(1, first=2), priority=-1)  # not back: it has an older job
    first = queue.claim()
    assert (first[0].job_id, seeds(first)) == ("b", [3])
    queue.requeue(first, ExitReason.NODE_LOST)
    queue.cancel("b")
    assert seeds(queue.claim_all()) == [0, 1, 2, 3]


def test_a_pack_has_cells_of_one_job_one_stream_and_its_workers_needs(
    queue: QueueUnderTest,
) -> None:
    one, other = pack(3), pack(2, seed=1)
    needy = make_cell(revision=9).model_copy(update={"needs": Needs(num_gpus=1)})
    queue.submit("a", [one[0], *other, one[1], needy])
    queue.submit("b", [one[2]])
    attempts = queue.claim(8)
    assert [attempt.cell for attempt in attempts] == [one[0], one[1]]
    assert {attempt.pack_size for attempt in attempts} == {2}
    assert [attempt.cell for attempt in queue.claim(8)] == list(other)
    assert [attempt.cell for attempt in queue.claim(8)] == [one[2]]
    assert queue.claim(8) == []
    assert [attempt.cell for attempt in queue.claim(8, Needs(num_gpus=1))] == [needy]


def test_demand_is_counted_by_needs_and_the_most_urgent_comes_first(queue: QueueUnderTest) -> None:
    gpu = Needs(num_gpus=1)
    queue.submit("old", cells(3))
    needy = [cell.model_copy(update={"needs": gpu}) for cell in cells(2, first=10)]
    queue.submit("gpu", needy, priority=5)
    queue.submit("new", cells(1, first=20), priority=5)
    told = [(d.needs, d.cells, d.priority, d.job) for d in demand(queue.db)]
    assert told == [(gpu, 2, 5, 2), (Needs(), 4, 5, 3)]
    assert [d.cells for d in demand(queue.db, "old")] == [3]
    assert demand(queue.db, "unheard") == []


def test_claims_can_be_limited_to_one_jobs_cells(queue: QueueUnderTest) -> None:
    queue.submit("a", pack(4), priority=1)
    queue.submit("b", [*pack(6)[2:], *cells(1, first=5)])
    assert queue.claim(8, only="unheard") == []
    attempts = [*queue.claim(8, only="b"), *queue.claim_all("b")]
    assert {attempt.cell.key for attempt in attempts} == {
        cell.key for cell in (*pack(6)[2:], *cells(1, first=5))
    }
    assert len(queue.claim_all()) == 2
