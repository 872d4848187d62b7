"""Attempts: whose result counts, who is charged for a death, what a restart finds."""

from __future__ import annotations

import pytest
from support.queues import HERE, Service, cells, pack, seeds

from stn_cluster.cluster.protocol import Checkpoint
from stn_cluster.queue import MAX_ATTEMPTS, MAX_NODE_LOSSES, ExitReason
from stn_cluster.queue.jobs import CellState

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState
DEATHS = [ExitReason.DIED, ExitReason.EXPIRED]
ACCIDENTS = [ExitReason.INTERRUPTED, ExitReason.COORDINATOR_LOST]


# --- results ---


def test_a_result_counts_once_and_only_from_the_current_attempt(service: Service) -> None:
    service.submit("a", cells(1))
    [old] = service.claim()
    service.lose([old], ExitReason.EXPIRED)
    assert service.queue.finish([service.store(old)]) == [False]
    [new] = service.claim()
    assert service.queue.finish([service.store(old)]) == [False]
    assert service.state("a") is RUNNING
    end = service.store(new)
    assert service.queue.finish([end, end]) == [True, False]
    assert service.queue.finish([service.store(new, "ValueError: late")]) == [False]
    assert service.state("a") is SUCCEEDED


def test_a_failure_is_the_cells_own_and_leaves_the_rest_of_its_pack_alone(
    service: Service,
) -> None:
    service.submit("a", pack(3))
    first, second, third = service.claim(3)
    service.fail(first, error="ValueError: the loss is not finite")
    assert service.states("a") == [FAILED, RUNNING, RUNNING]
    service.succeed(second, third)
    shown = [cell.error for _, cell in service.queue.cells("a")[0]]
    assert shown == ["ValueError: the loss is not finite", None, None]
    assert service.state("a") is FAILED


# --- losses ---


@pytest.mark.parametrize("ending", DEATHS)
def test_a_cell_that_dies_alone_three_times_is_to_be_failed_with_every_reason(
    service: Service, ending: ExitReason
) -> None:
    service.submit("a", cells(1))
    service.die_alone(MAX_ATTEMPTS - 1, ending)
    assert service.queue.spent() == []
    service.restart()  # the count is durable
    [last] = service.claim()
    service.lose([last], ending, "at last")
    assert service.claim() == []
    assert service.queue.demand() == []
    service.restart()
    [spent] = service.queue.spent()
    assert spent.reasons == (f"{ending}: reason 0", f"{ending}: reason 1", f"{ending}: at last")
    assert (spent.cell, spent.attempt, spent.job_id) == (cells(1)[0], last.assignment.attempt, "a")
    assert (spent.worker, spent.pack_size) == (HERE, 1)
    service.fail(last, error="given up")
    assert service.queue.spent() == []
    assert service.state("a") is FAILED


def test_a_cell_that_takes_its_nodes_with_it_is_stopped_at_the_twentieth(service: Service) -> None:
    service.submit("a", cells(1))
    service.die_alone(MAX_NODE_LOSSES - 1, ExitReason.NODE_LOST)
    assert service.queue.spent() == []
    service.die_alone(1, ExitReason.NODE_LOST)
    [spent] = service.queue.spent()
    assert len(spent.reasons) == MAX_NODE_LOSSES
    assert service.claim() == []
    assert not any(attempt.charged for attempt in service.queue.attempts(spent.cell.key))


def test_the_reasons_are_of_all_ends_that_count_and_of_no_others(service: Service) -> None:
    service.submit("a", cells(1))
    service.die_alone(2)
    service.fail(service.claim()[0])
    service.queue.retry("a", service.ends)
    endings = [
        ExitReason.DIED,
        ExitReason.NODE_LOST,
        *ACCIDENTS,
        ExitReason.DIED,
        ExitReason.EXPIRED,
    ]
    for number, ending in enumerate(endings):
        service.lose(service.claim(), ending, str(number))
    [spent] = service.queue.spent()
    assert spent.reasons == ("died: 0", "node lost: 1", "died: 4", "expired: 5")


@pytest.mark.parametrize("ending", [*ACCIDENTS, ExitReason.NODE_LOST])
def test_what_is_no_fault_of_a_cell_is_not_charged_and_lets_it_keep_its_company(
    service: Service, ending: ExitReason
) -> None:
    service.submit("a", pack(3))
    for _ in range(5):
        assert len(service.lose(service.claim(3), ending)) == 3
    assert len(service.claim(3)) == 3
    assert service.queue.spent() == []


@pytest.mark.parametrize("ending", DEATHS)
def test_the_death_of_a_pack_is_charged_to_nobody_and_each_is_tried_alone(
    service: Service, ending: ExitReason
) -> None:
    service.submit("a", pack(5))
    dead = service.claim(3)
    keys = [claim.assignment.cell.key for claim in dead]
    assert service.lose(dead, ending) == keys
    assert not any(service.queue.attempts(key)[0].charged for key in keys)
    service.restart()  # who is to be alone is durable
    alone = [service.claim(8) for _ in range(3)]
    assert [[claim.assignment.cell.key for claim in claims] for claims in alone] == [
        [key] for key in keys
    ]
    assert len(service.claim(8)) == 2  # those that were not in it stay together
    service.lose(alone[0], ending)
    assert [attempt.charged for attempt in service.queue.attempts(keys[0])] == [False, True]
    for claims in alone[1:]:
        service.succeed(*claims)
    service.die_alone(2)
    assert [spent.cell.key for spent in service.queue.spent()] == keys[:1]


def test_a_cell_queued_anew_may_be_in_a_pack_again(service: Service) -> None:
    service.submit("a", pack(2))
    service.lose(service.claim(2), ExitReason.DIED)
    service.queue.cancel("a")
    service.queue.retry("a", service.ends)
    assert len(service.claim(2)) == 2


def test_only_the_cells_of_a_pack_that_had_not_ended_are_queued_again(service: Service) -> None:
    service.submit("a", pack(3))
    claims = service.claim(3)
    service.succeed(claims[0])
    service.fail(claims[1])
    assert service.lose(claims, ExitReason.NODE_LOST) == [claims[2].assignment.cell.key]
    assert service.states("a") == [SUCCEEDED, FAILED, QUEUED]
    assert service.lose(claims, ExitReason.NODE_LOST) == []


def test_a_cancelled_cell_that_had_used_up_its_attempts_is_no_longer_to_be_failed(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    service.die_alone(MAX_ATTEMPTS)
    service.queue.cancel("a")
    assert service.queue.spent() == []
    service.queue.retry("a", service.ends)
    service.die_alone(MAX_ATTEMPTS - 1)
    assert service.queue.spent() == []
    assert len(service.claim()) == 1


# --- checkpoints ---


def test_a_lost_cell_goes_on_from_the_last_checkpoint_that_was_named(service: Service) -> None:
    service.submit("a", cells(1))
    [first] = service.claim()
    assert first.assignment.resume is None
    earlier, later = (Checkpoint(first.assignment.attempt, step) for step in (2, 4))
    key = first.assignment.cell.key
    assert service.queue.note_checkpoint([earlier]) == []
    assert service.queue.note_checkpoint([later]) == [(key, earlier)]
    assert service.queue.note_checkpoint([later]) == []
    service.lose([first], ExitReason.DIED)
    assert service.queue.note_checkpoint([Checkpoint(first.assignment.attempt, 6)]) == []
    service.restart()
    [second] = service.claim()
    assert second.assignment.resume == later
    assert not second.first
    newer = Checkpoint(second.assignment.attempt, 6)
    assert service.queue.note_checkpoint([newer]) == [(key, later)]
    service.fail(second)
    service.queue.retry("a", service.ends)
    assert service.claim()[0].assignment.resume is None


# --- restarts ---


def test_a_restart_queues_again_what_ran_uncharged_and_keeps_all_else(service: Service) -> None:
    service.submit("a", cells(6))
    done, failed, running = (service.claim()[0] for _ in range(3))
    service.succeed(done)
    service.fail(failed)
    saved = service.save(running, 3)
    assignment = running.assignment
    assert service.restart() == (0, [(assignment.cell.key, assignment.attempt)])
    assert service.states("a") == [SUCCEEDED, FAILED, *[QUEUED] * 4]
    [attempt] = service.queue.attempts(assignment.cell.key)
    assert (attempt.ending, attempt.charged) == (ExitReason.COORDINATOR_LOST, False)
    [again] = service.claim()
    assert (again.assignment.cell, again.assignment.resume) == (assignment.cell, saved)
    assert service.queue.finish([service.store(running)]) == [False]


def test_a_restart_takes_from_the_store_what_the_queue_had_not_come_to_know(
    service: Service,
) -> None:
    service.submit("a", cells(4))
    first, second, third, _ = service.claim_all()
    service.store(first)
    service.store(second, "ValueError: no")
    service.lose([third], ExitReason.DIED)
    ended, requeued = service.restart()
    assert (ended, len(requeued)) == (2, 1)
    assert service.states("a") == [SUCCEEDED, FAILED, QUEUED, QUEUED]
    assert [attempt.ending for attempt in service.queue.attempts(second.assignment.cell.key)] == [
        ExitReason.FAILED
    ]
    assert service.restart() == (0, [])


def test_a_restart_does_not_take_an_earlier_result_for_that_of_a_forced_cell(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    service.succeed(*service.claim())
    service.submit("b", cells(1), force=True)
    service.claim()
    ended, requeued = service.restart()
    assert (ended, len(requeued)) == (0, 1)
    [claim] = service.claim()
    service.store(claim)
    assert service.restart() == (1, [])
    assert service.state("b") is SUCCEEDED


def test_a_failure_that_was_on_its_way_when_its_cell_was_retried_is_refused_for_good(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    [claim] = service.claim()
    service.queue.cancel("a")
    service.queue.retry("a", service.ends)
    assert service.queue.finish([service.store(claim, "ValueError: no")]) == [False]
    assert service.restart() == (0, [])
    assert service.states("a") == [QUEUED]


def test_a_restart_fails_a_spent_cell_whose_failure_had_just_been_stored(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    service.die_alone(MAX_ATTEMPTS - 1)
    [last] = service.claim()
    service.lose([last], ExitReason.DIED)
    service.store(last, "given up")
    assert service.restart() == (1, [])
    assert service.queue.spent() == []
    assert service.states("a") == [FAILED]


def test_whatever_ends_a_shared_cell_its_attempt_is_told_under_the_job_it_ran_for(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    service.submit("b", cells(1), priority=1)
    [claim] = service.claim()
    assert seeds([claim]) == [0]
    service.queue.cancel("b")
    service.succeed(claim)
    [attempt] = service.queue.attempts(claim.assignment.cell.key)
    assert attempt.job_id == "b"
    assert service.states("a") == [SUCCEEDED]
    assert service.states("b") == [CANCELLED]
