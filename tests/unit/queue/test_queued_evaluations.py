"""Evaluations in the queue: they wait for their cells, are packed, retried and due again."""

from __future__ import annotations

import json

import pytest
from support.queues import QueueUnderTest, cells, evaluations, pack

from stn_cluster.errors import UserError
from stn_cluster.queue import claim, queries
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.finish import finish
from stn_cluster.queue.jobs import CellState, JobStatus

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def trained(queue: QueueUnderTest, count: int = 1) -> tuple[str, ...]:
    """Trains cells 0 ...; returns their attempts."""
    queue.submit("training", cells(count))
    attempts = queue.claim_all()
    queue.succeed(*attempts)
    return tuple(attempt.id for attempt in attempts)


def test_evaluations_of_a_jobs_cells_wait_for_these(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    queue.submit("j", [cell], evaluations=evaluations(cell, on=("E", "RTS")))
    [training] = queue.claim_all()
    assert training.evaluation is None
    assert queue.states("j") == [RUNNING, QUEUED, QUEUED]
    queue.succeed(training)
    attempts = queue.claim_all()
    assert [attempt.item.label for attempt in attempts] == [
        "CNN/none/R/seed0 on E",
        "CNN/none/R/seed0 on RTS",
    ]
    assert {attempt.weights_attempt for attempt in attempts} == {training.id}
    assert all(attempt.cell == cell for attempt in attempts)
    queue.succeed(*attempts)
    assert queue.state("j") is SUCCEEDED


def test_evaluations_of_stored_cells_are_of_their_newest_weights(queue: QueueUnderTest) -> None:
    [attempt] = trained(queue)
    queue.submit("j", [], evaluations=evaluations(*cells(1)))
    [evaluation] = queue.claim_all()
    assert (evaluation.weights_attempt, evaluation.job_id) == (attempt, "j")


def test_what_has_no_result_and_is_not_trained_cannot_be_evaluated(queue: QueueUnderTest) -> None:
    with pytest.raises(UserError, match="seed0 on E: the store has no result of this cell"):
        queue.submit("j", [], evaluations=evaluations(*cells(1)))
    assert queries.jobs(queue.db) == []


def test_an_evaluation_is_computed_once_and_due_again_after_a_rerun(queue: QueueUnderTest) -> None:
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("first", [], evaluations=wanted)
    queue.succeed(*queue.claim_all())
    queue.submit("second", [], evaluations=wanted)
    assert queue.states("second") == [SUCCEEDED]
    queue.submit("rerun", cells(1), force=True)
    [again] = queue.claim_all()
    queue.succeed(again)
    queue.submit("third", [], evaluations=wanted)
    [evaluation] = queue.claim_all()
    assert evaluation.weights_attempt == again.id


def test_those_that_are_queued_during_a_rerun_are_of_the_newest_weights(
    queue: QueueUnderTest,
) -> None:
    trained(queue)
    queue.submit("rerun", cells(1), force=True)
    [again] = queue.claim_all()
    queue.submit("j", [], evaluations=evaluations(*cells(1)))
    queue.succeed(again)
    [evaluation] = queue.claim_all()
    assert evaluation.weights_attempt == again.id


def test_a_forced_job_evaluates_what_it_has_trained(queue: QueueUnderTest) -> None:
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("first", [], evaluations=wanted)
    queue.succeed(*queue.claim_all())
    queue.submit("forced", cells(1), evaluations=wanted, force=True)
    [again] = queue.claim_all()
    assert again.evaluation is None
    queue.succeed(again)
    [evaluation] = queue.claim_all()
    assert evaluation.weights_attempt == again.id


def test_evaluations_of_cells_that_see_the_same_images_are_one_pack(queue: QueueUnderTest) -> None:
    wanted = pack(3)
    queue.submit("training", [*wanted, *cells(1, first=7, distortion="RTS")])
    queue.succeed(*queue.claim_all())
    other = evaluations(*cells(1, first=7, distortion="RTS"))
    queue.submit("j", [], evaluations=(*evaluations(*wanted, on=("E", "RTS")), *other))
    sizes = []
    while found := queue.claim(size=10):
        assert len({attempt.cell.distortion for attempt in found}) == 1
        sizes.append(len(found))
    assert sorted(sizes) == [1, 6]


def test_a_cell_and_its_evaluations_are_never_one_pack(queue: QueueUnderTest) -> None:
    trained(queue)
    queue.submit("j", pack(2, seed=5), evaluations=evaluations(*cells(1)))
    packs = []
    while found := queue.claim(size=10):
        packs.append([attempt.evaluation is None for attempt in found])
    assert sorted(packs) == [[False], [True, True]]


def test_evaluations_of_a_cell_that_fails_fail_with_it_and_are_retried_with_it(
    queue: QueueUnderTest,
) -> None:
    [cell] = cells(1)
    queue.submit("j", [cell], evaluations=evaluations(cell))
    queue.fail(*queue.claim_all())
    assert queue.states("j") == [FAILED, FAILED]
    [_, (_, failed)], _ = queries.cells(queue.db, "j")
    assert failed.error == "its cell failed: ValueError: no"
    assert queue.retry("j") == 2
    [training] = queue.claim_all()
    queue.succeed(training)
    [evaluation] = queue.claim_all()
    assert evaluation.weights_attempt == training.id


def test_an_evaluation_that_fails_is_retried_of_the_same_weights(queue: QueueUnderTest) -> None:
    [attempt] = trained(queue)
    queue.submit("j", [], evaluations=evaluations(*cells(1)))
    queue.fail(*queue.claim_all())
    assert queue.states("j") == [FAILED]
    assert queue.retry("j") == 1
    [again] = queue.claim_all()
    assert again.weights_attempt == attempt


def test_cancel_takes_cells_and_what_waits_for_them(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    queue.submit("j", [cell], evaluations=evaluations(cell))
    queue.cancel("j")
    assert queue.states("j") == [CANCELLED, CANCELLED]
    assert queue.claim_all() == []
    assert queue.retry("j") == 2
    queue.succeed(*queue.claim_all())
    assert len(queue.claim_all()) == 1


def test_one_that_waits_for_a_cancelled_rerun_does_not_wait_for_ever(queue: QueueUnderTest) -> None:
    [attempt] = trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("forced", cells(1), evaluations=wanted, force=True)
    queue.submit("other", [], evaluations=wanted)
    queue.cancel("forced")
    assert queue.states("other") == [FAILED]
    assert queue.retry("other") == 1
    [evaluation] = queue.claim_all()
    assert evaluation.weights_attempt == attempt


def test_a_lost_evaluation_is_queued_again_and_one_that_kills_workers_is_given_up(
    queue: QueueUnderTest,
) -> None:
    trained(queue)
    queue.submit("j", [], evaluations=evaluations(*cells(1)))
    for _ in range(3):
        queue.requeue(queue.claim_all(), ExitReason.DIED)
    [exhausted] = queue.exhausted()
    assert exhausted.evaluation is not None
    assert queue.claim_all() == []
    queue.fail(exhausted, error="given up")
    assert queue.states("j") == [FAILED]


def test_a_restart_finds_evaluations_of_the_store_and_queues_others_again(
    queue: QueueUnderTest,
) -> None:
    trained(queue)
    queue.submit("j", [], evaluations=evaluations(*cells(1), on=("E", "RTS", "P")))
    stored, lost = queue.claim(), queue.claim()
    queue.store(stored[0])
    ended, requeued = queue.restart()
    assert (ended, requeued) == (1, [(lost[0].item.key, lost[0].id)])
    assert sorted(queue.states("j")) == [QUEUED, QUEUED, SUCCEEDED]
    assert len(queue.claim_all()) == 2


def test_a_result_of_older_weights_does_not_end_one_of_newer_ones(queue: QueueUnderTest) -> None:
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("j", [], evaluations=wanted)
    [old] = queue.claim_all()
    queue.requeue([old], ExitReason.NODE_LOST)
    queue.submit("rerun", cells(1), force=True)
    training = queue.claim(only="rerun")
    queue.succeed(*training)
    queue.store(old)
    queue.restart()
    assert queue.states("j") == [QUEUED]


def test_status_counts_evaluations_apart_and_names_the_test_set(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    queue.submit("j", [cell], evaluations=evaluations(cell, worst_of=10, severity=2.0))
    status: JobStatus = queries.job_status(queue.db, "j")[0]
    assert (status.total, status.evaluations) == (2, 1)
    (_, plain), (_, evaluated) = queries.cells(queue.db, "j")[0]
    assert (plain.cell.tested_on, evaluated.cell.tested_on) == (None, "E, worst of 10")
    assert evaluated.cell.label == "CNN/none/R/seed0 on E, worst of 10"
    assert evaluated.cell.model == "CNN"


def test_a_jobs_record_has_cells_and_evaluations_apart(queue: QueueUnderTest) -> None:
    [cell] = cells(1)
    [wanted] = evaluations(cell)
    queue.submit("j", [cell], evaluations=[wanted])
    record = json.loads(queries.job_record(queue.db, "j"))
    assert len(record["cells"]) == 1
    assert record["evaluations"] == {wanted.key: "CNN/none/R/seed0 on E"}


def test_the_history_of_an_evaluation_is_found_by_its_label(queue: QueueUnderTest) -> None:
    trained(queue)
    queue.submit("j", [], evaluations=evaluations(*cells(1)))
    [attempt] = queue.claim_all()
    assert [found.id for found in queue.attempts("CNN/none/R/seed0 on E")] == [attempt.id]
    assert len(queue.attempts(cells(1)[0].key)) == 1


def test_a_job_that_is_served_alone_has_the_cells_trained_that_its_evaluations_wait_for(
    queue: QueueUnderTest,
) -> None:
    """As after a forced run that was interrupted: else nothing would ever be claimed."""
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("rerun", cells(1), evaluations=wanted, force=True)
    queue.submit("j", [], evaluations=wanted)
    assert claim.demand(queue.db, "j") == claim.demand(queue.db, None)
    [again] = queue.claim(only="j")
    assert again.evaluation is None
    queue.succeed(again)
    [evaluation] = queue.claim(only="j")
    assert evaluation.weights_attempt == again.id
    queue.succeed(evaluation)
    assert queue.state("j") is SUCCEEDED
    queue.submit("other", cells(2))
    assert not queue.claim(only="j")


def test_what_killed_workers_is_not_held_against_newer_weights(queue: QueueUnderTest) -> None:
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("j", [], evaluations=wanted)
    queue.lose_workers(3)
    [given_up] = queue.exhausted()
    queue.submit("rerun", cells(1), force=True)
    [again] = queue.claim()
    queue.succeed(again)
    assert not queue.exhausted()
    late = queue.store(given_up, error="given up after these ends")  # of older weights
    assert finish(queue.db, [late]) == [False]
    [evaluation] = queue.claim()
    assert evaluation.weights_attempt == again.id


def test_a_retry_queues_evaluations_that_are_due_again(queue: QueueUnderTest) -> None:
    trained(queue)
    wanted = evaluations(*cells(1))
    queue.submit("first", [], evaluations=wanted)
    queue.succeed(*queue.claim_all())
    queue.submit("rerun", cells(1), force=True)
    queue.succeed(*queue.claim())
    queue.submit("again", [], evaluations=wanted)
    queue.cancel("again")
    assert queue.retry("again") == 1
    queue.succeed(*queue.claim())
    assert queue.state("again") is SUCCEEDED
    assert queue.known.current(wanted[0]) is not None
