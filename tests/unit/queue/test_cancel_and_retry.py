"""Jobs are cancelled, and tried again."""

from __future__ import annotations

import pytest
from support.queues import Service, cells

from stn_cluster.errors import UserError
from stn_cluster.queue.jobs import CellState, Job

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState


def test_a_cancelled_cell_goes_on_from_its_checkpoint_and_a_forced_one_begins_anew(
    service: Service,
) -> None:
    service.submit("a", cells(1))
    [claim] = service.claim()
    saved = service.save(claim, 4)
    assert service.queue.cancel("a") == [claim.assignment.attempt]
    assert service.queue.retry("a", service.ends) == 1
    [claim] = service.claim()
    assert claim.assignment.resume == saved
    service.queue.cancel("a")
    service.submit("b", cells(1))
    [claim] = service.claim()
    assert claim.assignment.resume == saved
    service.queue.cancel("b")
    service.submit("c", cells(1), force=True)
    [claim] = service.claim()
    assert claim.assignment.resume is None


def test_retry_queues_failed_and_cancelled_cells_with_a_new_count_of_attempts(
    service: Service,
) -> None:
    service.submit("a", cells(4))
    service.die_alone(2)
    first, second, third = (service.claim()[0] for _ in range(3))
    service.fail(first)
    service.succeed(second)
    assert service.queue.cancel("a") == [third.assignment.attempt]
    assert service.states("a") == [FAILED, SUCCEEDED, CANCELLED, CANCELLED]
    assert service.queue.retry("a", service.ends) == 3
    assert service.states("a") == [QUEUED, SUCCEEDED, QUEUED, QUEUED]
    assert service.state("a") is RUNNING
    service.die_alone(2)
    assert service.queue.spent() == []
    service.succeed(*service.claim_all())
    assert service.state("a") is SUCCEEDED


def test_what_has_ended_cannot_be_cancelled_and_retry_of_it_changes_nothing(
    service: Service,
) -> None:
    service.submit("a", cells(2))
    service.succeed(*service.claim_all())
    assert service.queue.cancel("a") == []
    assert service.queue.retry("a", service.ends) == 0
    assert service.state("a") is SUCCEEDED
    for change in (service.queue.cancel, lambda job_id: service.queue.retry(job_id, service.ends)):
        with pytest.raises(UserError, match="unknown job 'aa': did you mean 'a'"):
            change("aa")


def test_cancelling_a_rerun_ends_it_and_leaves_the_job_that_had_ended_as_it_was(
    service: Service,
) -> None:
    service.submit("a", cells(3))
    service.succeed(*service.claim_all())
    service.submit("again", cells(3), force=True)
    [claim] = service.claim()
    assert service.queue.cancel("again") == [claim.assignment.attempt]
    assert service.claim_all() == []
    assert service.states("again") == [CANCELLED] * 3
    assert service.states("a") == [SUCCEEDED] * 3
    assert [cell.test_error for _, cell in service.queue.cells("a")[0]] == [5.0] * 3
    assert service.queue.retry("again", service.ends) == 3
    assert len(service.claim_all()) == 3


def test_cancelling_a_job_that_tried_failures_again_ends_it(service: Service) -> None:
    service.submit("a", cells(2))
    service.fail(*service.claim_all())
    service.submit("b", cells(2), priority=-1)
    assert service.queue.cancel("a") == []  # it had ended
    assert service.queue.cancel("b") == []
    assert service.claim_all() == []
    assert service.state("b") is CANCELLED


def test_the_newest_unfinished_job_that_asks_for_the_same_is_found(service: Service) -> None:
    like = Job("other-id", cells(2))
    assert service.queue.unfinished_like(like) is None
    for job_id in ("a", "b"):
        service.submit(job_id, cells(2))
    service.submit("forced", cells(2), force=True)
    assert service.queue.unfinished_like(like) == "b"
    service.queue.cancel("b")
    assert service.queue.unfinished_like(like) == "a"
    service.succeed(*service.claim_all())
    assert service.queue.unfinished_like(like) is None
