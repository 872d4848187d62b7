"""Leases: deadlines of heartbeats. Every time here is given, none is waited for."""

from __future__ import annotations

import pytest
from support.records import make_cell
from support.workers import HERE

from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.queue.attempts import Attempt, utc_now

SECONDS, SCAN = 60.0, 5.0  # of a lease; between two scans


def make_lease(attempt: str, worker: str = "w", at: float = 0.0, job: str = "j") -> Lease:
    """A lease as the scheduler grants it at a time."""
    cell = make_cell(seed=int(attempt[1:]))
    running = Attempt(attempt, cell, job, pack_size=1, worker=HERE, started_at=utc_now())
    return Lease(running, worker, deadline=at + SECONDS)


@pytest.fixture
def leases() -> Leases:
    """Two attempts of one worker and one of another, granted at 0."""
    made = Leases(SECONDS, SCAN)
    for attempt, worker in (("a0", "w"), ("a1", "w"), ("a2", "other")):
        made.grant(make_lease(attempt, worker))
    return made


def scan(leases: Leases, start: float, end: float) -> list[str]:
    """Scans every `SCAN` seconds, as the scheduler does; the attempts found at the last scan."""
    found: list[str] = []
    now = start
    while now <= end:
        found = names(leases.expired(now))
        now += SCAN
    return found


def names(found: list[Lease]) -> list[str]:
    return [lease.id for lease in found]


def test_a_lease_is_held_from_its_grant_to_its_end(leases: Leases) -> None:
    assert len(leases) == 3
    lease = leases.get("a1")
    assert lease is not None
    assert (lease.id, lease.attempt.cell, lease.step) == ("a1", make_cell(seed=1), 0)
    assert names(leases.of("w")) == ["a0", "a1"]
    assert names(leases.end(["a1", "a1", "unknown"])) == ["a1"]
    assert leases.get("a1") is None
    assert len(leases) == 2
    assert leases.get(None) is None
    assert leases.of("nobody") == []


def test_a_worker_without_heartbeats_loses_its_leases_after_their_deadline_and_not_before(
    leases: Leases,
) -> None:
    assert scan(leases, 0, SECONDS) == []
    assert names(leases.expired(SECONDS + 0.1)) == ["a0", "a1", "a2"]


def test_a_heartbeat_renews_all_leases_of_its_worker_and_nobody_elses(leases: Leases) -> None:
    leases.renew("w", {"a0": 3}, now=50.0)  # nothing of a1, which may not have started
    assert scan(leases, 0, SECONDS + SCAN) == ["a2"]
    leases.end(["a2"])
    assert scan(leases, SECONDS + 2 * SCAN, 50 + SECONDS) == []
    assert names(leases.expired(50 + SECONDS + 0.1)) == ["a0", "a1"]


def test_a_heartbeat_without_attempts_renews_leases_too(leases: Leases) -> None:
    assert leases.renew("w", {}, now=50.0) == set()
    assert scan(leases, 0, SECONDS + SCAN) == ["a2"]


def test_attempts_that_the_worker_holds_no_lease_on_are_returned_as_lost(leases: Leases) -> None:
    leases.end(["a0"])
    reported = {"a0": 7, "a1": 7, "a2": 7, "never-seen": 1}
    assert leases.renew("w", reported, now=1.0) == {"a0", "a2", "never-seen"}
    assert leases.renew("stranger", {"a1": 9}, now=1.0) == {"a1"}
    others = leases.get("a2")
    assert others is not None
    assert others.step == 0  # another worker's report on it does not count


def test_a_heartbeat_of_a_worker_without_leases_renews_none(leases: Leases) -> None:
    for now in (20.0, 40.0, 60.0):
        leases.renew("stranger", {"a0": 1, "a1": 1, "a2": 1}, now)
    assert scan(leases, 0, SECONDS + SCAN) == ["a0", "a1", "a2"]


def test_steps_are_the_reported_ones_and_a_late_report_takes_none_back(leases: Leases) -> None:
    leases.renew("w", {"a0": 5, "a1": 2}, now=1.0)
    leases.renew("w", {"a0": 4, "a1": 3}, now=2.0)
    assert [lease.step for lease in leases.of("w")] == [5, 3]


def test_an_attempt_whose_result_is_being_written_never_expires(leases: Leases) -> None:
    lease = leases.get("a0")
    assert lease is not None
    lease.finishing = True
    assert scan(leases, 0, 100 * SECONDS) == ["a1", "a2"]
    assert leases.get("a0") is lease


@pytest.mark.parametrize("held_up", [2 * SCAN + 1, 90.0, 10_000.0])
def test_leases_are_extended_by_the_time_in_which_this_process_was_held_up(
    leases: Leases, held_up: float
) -> None:
    assert leases.expired(0.0) == []
    assert leases.expired(SCAN) == []
    late = held_up - SCAN  # what is missed beyond the usual time between two scans
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


def test_work_done_is_the_part_of_the_running_cells_costs_that_is_behind_them() -> None:
    leases = Leases(SECONDS, SCAN)
    for attempt, job, step in (("a0", "j", 2), ("a1", "j", 8), ("a2", "other", 4)):
        leases.grant(make_lease(attempt, job=job))
        leases.renew("w", {attempt: step}, now=0.0)
    cost = make_cell().cost  # for 8 steps
    assert leases.work_done("j") == pytest.approx(cost * (2 / 8 + 8 / 8))
    assert leases.work_done("other") == pytest.approx(cost * 4 / 8)
    assert leases.work_done("unknown") == 0
