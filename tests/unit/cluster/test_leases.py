"""Leases: how long silence is forgiven. Every time here is given, none is waited for."""

from __future__ import annotations

import pytest
from support.records import make_cell

from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.protocol import Assignment
from stn_cluster.queue import Claim

SECONDS, SCAN = 60.0, 5.0  # of a lease; between two scans


def make_lease(attempt: str, worker: str = "w", at: float = 0.0, job: str = "j") -> Lease:
    """A lease as the coordinator grants it at a time."""
    cell = make_cell(seed=int(attempt[1:]))
    claim = Claim(Assignment(cell, attempt), job, pack_size=1, first=True)
    return Lease(claim, worker, deadline=at + SECONDS)


@pytest.fixture
def leases() -> Leases:
    """Two attempts of one worker and one of another, granted at 0."""
    made = Leases(SECONDS, SCAN)
    for attempt, worker in (("a0", "w"), ("a1", "w"), ("a2", "other")):
        made.grant(make_lease(attempt, worker))
    return made


def scan(leases: Leases, start: float, end: float) -> list[str]:
    """Looks every `SCAN` seconds, as the coordinator does; the attempts found at the last look."""
    found: list[str] = []
    now = start
    while now <= end:
        found = names(leases.expired(now))
        now += SCAN
    return found


def names(found: list[Lease]) -> list[str]:
    return [lease.attempt for lease in found]


def test_a_lease_is_there_from_its_grant_to_its_end(leases: Leases) -> None:
    assert len(leases) == 3
    lease = leases.get("a1")
    assert lease is not None
    assert (lease.attempt, lease.cell, lease.step) == ("a1", make_cell(seed=1), 0)
    assert names(leases.of("w")) == ["a0", "a1"]
    assert names(leases.end(["a1", "a1", "unknown"])) == ["a1"]
    assert leases.get("a1") is None
    assert len(leases) == 2
    assert leases.get(None) is None
    assert leases.of("nobody") == []


def test_a_worker_that_is_silent_loses_its_leases_after_their_time_and_not_before(
    leases: Leases,
) -> None:
    assert scan(leases, 0, SECONDS) == []
    assert names(leases.expired(SECONDS + 0.1)) == ["a0", "a1", "a2"]


def test_a_word_of_a_worker_extends_all_of_its_leases_and_nobody_elses(leases: Leases) -> None:
    leases.heard("w", {"a0": 3}, now=50.0)  # nothing of a1, which may not have begun
    assert scan(leases, 0, SECONDS + SCAN) == ["a2"]
    leases.end(["a2"])
    assert scan(leases, SECONDS + 2 * SCAN, 50 + SECONDS) == []
    assert names(leases.expired(50 + SECONDS + 0.1)) == ["a0", "a1"]


def test_a_word_without_attempts_is_a_sign_of_life_too(leases: Leases) -> None:
    assert leases.heard("w", {}, now=50.0) == set()
    assert scan(leases, 0, SECONDS + SCAN) == ["a2"]


def test_a_worker_hears_which_of_its_attempts_are_not_its_own_any_more(leases: Leases) -> None:
    leases.end(["a0"])
    told = {"a0": 7, "a1": 7, "a2": 7, "never-seen": 1}
    assert leases.heard("w", told, now=1.0) == {"a0", "a2", "never-seen"}
    assert leases.heard("stranger", {"a1": 9}, now=1.0) == {"a1"}
    others = leases.get("a2")
    assert others is not None
    assert others.step == 0  # another worker's word about it does not count


def test_a_strangers_word_does_not_extend_a_lease(leases: Leases) -> None:
    for now in (20.0, 40.0, 60.0):
        leases.heard("stranger", {"a0": 1, "a1": 1, "a2": 1}, now)
    assert scan(leases, 0, SECONDS + SCAN) == ["a0", "a1", "a2"]


def test_steps_are_those_told_and_a_word_that_comes_late_takes_none_back(leases: Leases) -> None:
    leases.heard("w", {"a0": 5, "a1": 2}, now=1.0)
    leases.heard("w", {"a0": 4, "a1": 3}, now=2.0)
    assert [lease.step for lease in leases.of("w")] == [5, 3]


def test_an_attempt_whose_result_is_being_written_never_expires(leases: Leases) -> None:
    lease = leases.get("a0")
    assert lease is not None
    lease.ending = True
    assert scan(leases, 0, 100 * SECONDS) == ["a1", "a2"]
    assert leases.get("a0") is lease


@pytest.mark.parametrize("held_up", [2 * SCAN + 1, 90.0, 10_000.0])
def test_time_in_which_this_process_was_held_up_is_not_held_against_workers(
    leases: Leases, held_up: float
) -> None:
    assert leases.expired(0.0) == []
    assert leases.expired(SCAN) == []
    late = held_up - SCAN  # what is missed beyond the usual time between two looks
    now = SCAN + held_up
    assert leases.expired(now) == []
    assert scan(leases, now + SCAN, SECONDS + late) == []
    last = max(now, SECONDS + late)
    assert scan(leases, now + SCAN, last + SCAN) == ["a0", "a1", "a2"]


def test_a_scan_that_is_a_little_late_extends_nothing(leases: Leases) -> None:
    now = 0.0
    while now <= SECONDS:
        assert leases.expired(now) == []
        now += 1.9 * SCAN
    assert names(leases.expired(now)) == ["a0", "a1", "a2"]


def test_the_first_scan_of_all_extends_nothing(leases: Leases) -> None:
    assert names(leases.expired(SECONDS + 1)) == ["a0", "a1", "a2"]


def test_the_work_behind_a_jobs_running_cells_is_the_part_of_their_cost_that_is_done() -> None:
    leases = Leases(SECONDS, SCAN)
    for attempt, job, step in (("a0", "j", 2), ("a1", "j", 8), ("a2", "other", 4)):
        leases.grant(make_lease(attempt, job=job))
        leases.heard("w", {attempt: step}, now=0.0)
    cost = make_cell().cost  # for 8 steps
    assert leases.work_done("j") == pytest.approx(cost * (2 / 8 + 8 / 8))
    assert leases.work_done("other") == pytest.approx(cost * 4 / 8)
    assert leases.work_done("unknown") == 0
