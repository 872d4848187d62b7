"""Jobs in the queue: they are taken once, share cells, and come in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.queues import Service, cells, pack, seeds
from support.records import make_cell

from stn_cluster.errors import UserError
from stn_cluster.grid import Needs
from stn_cluster.queue import ExitReason
from stn_cluster.queue.jobs import CellState

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


# --- submission ---


def test_a_submission_a_hundred_times_over_is_one_job(service: Service) -> None:
    assert service.submit("a", cells(3))
    assert not any(service.submit("a", cells(3)) for _ in range(99))
    assert [job.job_id for job in service.queue.jobs()] == ["a"]
    assert service.states("a") == [QUEUED] * 3
    service.succeed(*service.claim_all())
    assert not service.submit("a", cells(3), force=False)
    assert service.states("a") == [SUCCEEDED] * 3


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
    service: Service, other: dict[str, object]
) -> None:
    service.submit("a", cells(3))
    with pytest.raises(UserError, match="'a' is taken by a job that asks for other things"):
        service.submit("a", **other)  # type: ignore[arg-type]
    assert service.states("a") == [QUEUED] * 3
    assert service.queue.job("a")[0].priority == 0
    assert len(service.claim_all()) == 3


def test_a_success_in_the_store_is_queued_again_only_by_force(service: Service) -> None:
    service.submit("a", cells(2))
    service.succeed(*service.claim_all())
    service.submit("b", cells(3))
    assert service.states("b") == [SUCCEEDED, SUCCEEDED, QUEUED]
    assert [cell.stored for _, cell in service.queue.cells("b")[0]] == [True, True, False]
    assert seeds(service.claim_all()) == [2]
    service.submit("forced", cells(2), force=True)
    assert seeds(service.claim_all()) == [0, 1]


def test_a_failure_is_tried_again_by_the_next_submission(service: Service) -> None:
    service.submit("a", cells(2))
    service.fail(*service.claim_all())
    assert service.state("a") is FAILED
    service.submit("b", cells(2))
    assert service.states("b") == [QUEUED] * 2
    again = service.claim_all()
    service.succeed(*again)
    assert service.state("b") is SUCCEEDED
    assert service.states("a") == [SUCCEEDED] * 2  # what has become of its cells, it sees too


def test_results_are_found_though_the_queue_never_had_the_cells(
    service: Service, tmp_path: Path
) -> None:
    service.submit("a", cells(2))
    service.succeed(*service.claim_all())
    other = Service(tmp_path / "other")
    other.ends.add(service.rows)
    other.submit("a", cells(2))
    [status, left] = other.queue.job("a")
    assert (status.state, status.counts, left) == (SUCCEEDED, {SUCCEEDED: 2}, 0)
    assert [cell.test_error for _, cell in other.queue.cells("a")[0]] == [5.0, 5.0]
    assert other.claim_all() == []
    other.close()


# --- shared cells ---


def test_shared_cells_are_trained_once_and_both_jobs_see_it(service: Service) -> None:
    service.submit("a", cells(4))
    service.submit("b", cells(4, first=2))
    claims = service.claim_all()
    assert seeds(claims) == [0, 1, 2, 3, 4, 5]
    assert [claim.job_id for claim in claims] == ["a"] * 4 + ["b"] * 2
    service.succeed(*claims)
    assert service.states("a") == service.states("b") == [SUCCEEDED] * 4


@pytest.mark.parametrize(("cancelled", "other"), [("a", "b"), ("b", "a")])
def test_cancelling_one_of_two_jobs_leaves_the_other_whole(
    service: Service, cancelled: str, other: str
) -> None:
    service.submit("a", cells(4))
    service.submit("b", cells(4, first=2))
    running = [claim for _ in range(3) for claim in service.claim()]
    mine = [c.assignment.attempt for c in running if c.assignment.cell.seed < 2]
    assert service.queue.cancel(cancelled) == (mine if cancelled == "a" else [])
    assert service.state(cancelled) is CANCELLED
    assert service.states(cancelled) == [CANCELLED] * 4
    service.succeed(running[2])
    service.succeed(*service.claim_all(), *(running[:2] if cancelled == "b" else []))
    assert service.states(other) == [SUCCEEDED] * 4
    assert service.states(cancelled) == [CANCELLED] * 4
    assert service.claim_all() == []


def test_each_job_has_its_own_name_for_a_cells_recipe(service: Service) -> None:
    mine, theirs = (make_cell().model_copy(update={"recipe": name}) for name in ("mine", "theirs"))
    assert mine.key == theirs.key
    service.submit("a", [mine])
    service.submit("b", [theirs], priority=1)
    shown = [service.queue.cells(job_id)[0][0][1].cell.recipe for job_id in ("a", "b")]
    assert shown == ["mine", "theirs"]
    [claim] = service.claim()
    assert (claim.job_id, claim.assignment.cell) == ("b", theirs)
    service.lose([claim], ExitReason.NODE_LOST)
    service.queue.cancel("b")
    [claim] = service.claim()
    assert (claim.job_id, claim.assignment.cell) == ("a", mine)
    assert service.queue.job_record("b")["cells"][0]["recipe"] == "theirs"


# --- order ---


def test_jobs_come_by_priority_then_by_age(service: Service) -> None:
    for number, priority in enumerate([0, 2, 1, 2, -1]):
        service.submit(f"job-{number}", cells(1, first=number), priority=priority)
    assert [claim.job_id[-1] for claim in service.claim_all()] == ["1", "3", "2", "0", "4"]


def test_within_a_job_the_longest_come_first_then_its_own_order(service: Service) -> None:
    costs = [1.0, 3.0, 2.0, 3.0, 0.5]
    wanted = [
        cell.model_copy(update={"cost": cost}) for cell, cost in zip(cells(5), costs, strict=True)
    ]
    service.submit("a", wanted)
    assert seeds(service.claim_all()) == [1, 3, 2, 0, 4]


def test_a_later_job_of_higher_priority_pulls_shared_cells_forward_and_lets_them_fall_back(
    service: Service,
) -> None:
    service.submit("a", cells(4))
    service.submit("b", [*cells(1, first=3), *cells(1, first=9)], priority=5)
    service.submit("c", cells(1, first=2), priority=-1)  # not back: it has an older job
    first = service.claim()
    assert (first[0].job_id, seeds(first)) == ("b", [3])
    service.lose(first, ExitReason.NODE_LOST)
    service.queue.cancel("b")
    assert seeds(service.claim_all()) == [0, 1, 2, 3]


def test_a_pack_is_of_one_job_and_one_stream_and_what_its_worker_has(service: Service) -> None:
    one, other = pack(3), pack(2, seed=1)
    needy = make_cell(revision=9).model_copy(update={"needs": Needs(num_gpus=1)})
    service.submit("a", [one[0], *other, one[1], needy])
    service.submit("b", [one[2]])
    claims = service.claim(8)
    assert [claim.assignment.cell for claim in claims] == [one[0], one[1]]
    assert {claim.pack_size for claim in claims} == {2}
    assert [claim.assignment.cell for claim in service.claim(8)] == list(other)
    assert [claim.assignment.cell for claim in service.claim(8)] == [one[2]]
    assert service.claim(8) == []
    assert [claim.assignment.cell for claim in service.claim(8, Needs(num_gpus=1))] == [needy]


def test_demand_is_told_by_need_and_what_comes_first_comes_first(service: Service) -> None:
    gpu = Needs(num_gpus=1)
    service.submit("old", cells(3))
    needy = [cell.model_copy(update={"needs": gpu}) for cell in cells(2, first=10)]
    service.submit("gpu", needy, priority=5)
    service.submit("new", cells(1, first=20), priority=5)
    told = [(d.needs, d.cells, d.priority, d.job) for d in service.queue.demand()]
    assert told == [(gpu, 2, 5, 2), (Needs(), 4, 5, 3)]
    assert [d.cells for d in service.queue.demand("old")] == [3]
    assert service.queue.demand("unheard") == []


def test_one_jobs_cells_can_be_claimed_alone(service: Service) -> None:
    service.submit("a", pack(4), priority=1)
    service.submit("b", [*pack(6)[2:], *cells(1, first=5)])
    assert service.claim(8, only="unheard") == []
    claims = [*service.claim(8, only="b"), *service.claim_all("b")]
    assert {c.assignment.cell.key for c in claims} == {
        cell.key for cell in (*pack(6)[2:], *cells(1, first=5))
    }
    assert len(service.claim_all()) == 2
