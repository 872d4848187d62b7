"""Report handler: what it takes of a report and what it refuses. Without an event loop."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.records import make_cell
from support.result_writers import make_outcome
from support.schedulers import SchedulerUnderTest
from support.workers import CORE, HERE, FakePool

from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.protocol import Report, Stall
from stn_cluster.cluster.reports import ReportHandler
from stn_cluster.cluster.result_writer import Result
from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import Attempt, Checkpoint, utc_now

STEPS = make_cell().iterations  # of each cell


def make_attempt(name: str, seed: int = 0, is_first: bool = True) -> Attempt:
    cell = make_cell(seed=seed)
    return Attempt(
        name, cell, "j", pack_size=1, worker=HERE, started_at=utc_now(), is_first=is_first
    )


A, B = make_attempt("a", seed=0), make_attempt("b", seed=1)


class Received:
    """Records everything that the handler passes on, in place of the real recipients."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.checkpoints: list[tuple[str, Checkpoint]] = []
        self.steps: list[tuple[Cell, int]] = []
        self.logs: list[tuple[str, str]] = []
        self.begins = 0  # how often the measurement of the speed began anew


class Results:
    def __init__(self, received: Received) -> None:
        self.add = received.results.append


class Checkpoints:
    def __init__(self, received: Received) -> None:
        self._received = received

    def add(self, key: str, checkpoint: Checkpoint) -> None:
        self._received.checkpoints.append((key, checkpoint))


class Throughput:
    def __init__(self, received: Received) -> None:
        self._received = received

    def paused(self, now: float) -> bool:
        return not self._received.steps

    def begin(self, now: float) -> None:
        self._received.begins += 1

    def add(self, cell: Cell, steps: int, now: float) -> None:
        self._received.steps.append((cell, steps))


class Logs:
    def __init__(self, received: Received) -> None:
        self._received = received

    def log(self, attempt: Attempt, text: str) -> None:
        self._received.logs.append((attempt.id, text))

    log_line = log


class Handler:
    """A report handler with two running attempts, `a` and `b`, of one worker."""

    def __init__(self) -> None:
        settings = Settings(store="store", state="state")
        self.received = Received()
        self.leases = Leases(settings.lease_seconds, settings.scan_seconds)
        self.pool = FakePool(settings)
        self.worker = self.pool.start(CORE, now=0.0)
        self.handler = ReportHandler(
            leases=self.leases,
            pool=self.pool,
            throughput=Throughput(self.received),  # type: ignore[arg-type]
            results=Results(self.received),  # type: ignore[arg-type]
            checkpoints=Checkpoints(self.received),  # type: ignore[arg-type]
            housekeeping=Logs(self.received),  # type: ignore[arg-type]
        )
        self.grant(A)
        self.grant(B)

    def grant(self, attempt: Attempt) -> Lease:
        lease = Lease(attempt, self.worker.name, deadline=time.monotonic() + 1)
        self.leases.grant(lease)
        return lease

    def lease(self, attempt: Attempt) -> Lease:
        found = self.leases.get(attempt.id)
        assert found is not None
        return found

    def report(self, worker: str | None = None, **fields: Any) -> set[str]:
        return self.handler.handle(worker or self.worker.name, Report(**fields))


@pytest.fixture
def at() -> Handler:
    return Handler()


# --- heartbeats ---


def test_a_report_renews_all_leases_of_its_worker_and_is_a_sign_of_life(at: Handler) -> None:
    before = time.monotonic()
    assert at.report(steps={"a": 1}) == set()
    assert all(at.lease(x).deadline >= before + at.leases.seconds for x in (A, B))
    assert at.worker.heard_at >= before


def test_attempts_without_a_lease_are_returned_as_lost(at: Handler) -> None:
    at.leases.end(["b"])
    assert at.report(steps={"a": 1, "b": 1, "unknown": 1}) == {"b", "unknown"}
    assert at.report("stranger", steps={"a": 5}) == {"a"}
    assert at.lease(A).step == 1


def test_a_worker_that_the_pool_does_not_know_any_more_is_answered_too(at: Handler) -> None:
    at.pool.remove(at.worker)  # type: ignore[arg-type]
    assert at.report(steps={"a": 1}) == set()  # until its lease is taken away
    at.leases.end(["a", "b"])
    assert at.report(steps={"a": 1}) == {"a"}


def test_the_time_of_a_cancel_request_is_kept_until_the_cell_has_stopped(at: Handler) -> None:
    at.leases.end(["a"])
    at.worker.cancel_requested_at = {"a": 5.0}
    at.report(steps={"a": 1, "b": 1})
    assert at.worker.cancel_requested_at == {"a": 5.0}
    at.report(steps={"b": 2})
    assert at.worker.cancel_requested_at == {}


def test_a_lost_attempt_that_goes_on_counts_as_asked_to_stop_from_now_on(at: Handler) -> None:
    at.leases.end(["a"])
    before = time.monotonic()
    at.report(steps={"a": 1})
    first = at.worker.cancel_requested_at["a"]
    assert before <= first <= time.monotonic()
    at.report(steps={"a": 2})
    assert at.worker.cancel_requested_at == {"a": first}


def test_a_worker_says_why_it_cannot_reach_the_store_while_that_lasts(at: Handler) -> None:
    at.report(degraded_reason="no route to host")
    assert at.worker.degraded_reason == "no route to host"
    at.report()
    assert at.worker.degraded_reason is None


# --- steps ---


def test_steps_are_counted_once(at: Handler) -> None:
    for steps in ({"a": 2, "b": 1}, {"a": 2, "b": 3}, {"a": 1, "b": 3}, {"a": 5, "b": 3}):
        at.report(steps=steps)
    counted = at.received.steps
    assert [n for cell, n in counted if cell == A.cell] == [2, 3]
    assert [n for cell, n in counted if cell == B.cell] == [1, 2]


def test_steps_that_a_checkpoint_brought_are_not_counted(at: Handler) -> None:
    at.report(started={"a": 6}, steps={"a": 6})
    assert at.received.steps == []
    assert at.lease(A).step == 6
    at.report(steps={"a": 7})
    assert at.received.steps == [(A.cell, 1)]


def test_a_report_that_comes_again_later_counts_no_steps_twice(at: Handler) -> None:
    first = {"started": {"a": 2}, "steps": {"a": 2}}
    at.report(**first)
    at.report(steps={"a": 5})
    at.report(**first)  # its answer was lost, and it was sent again
    assert at.lease(A).step == 5
    at.report(steps={"a": 6})
    assert at.received.steps == [(A.cell, 3), (A.cell, 1)]


def test_the_speed_is_measured_from_when_training_begins_and_not_from_when_it_is_loaded(
    at: Handler,
) -> None:
    at.report(steps={"a": 0, "b": 0})  # it loads
    assert at.received.begins == 0
    at.report(started={"a": 0}, steps={"a": 3})
    assert (at.received.begins, at.received.steps) == (1, [(A.cell, 3)])
    at.received.steps.clear()  # nothing for a while
    at.report(started={"b": 0}, steps={"a": 3, "b": 0})
    assert at.received.begins == 1  # the other is in training: its steps may be that slow


def test_what_a_pack_without_progress_is_doing_is_known_until_it_makes_some(at: Handler) -> None:
    at.report(steps={"a": 0}, stall=Stall(2.0, "builds its model", (A.cell.key,)))
    assert at.worker.stall is not None
    assert at.worker.stall.what == "builds its model"
    at.report(steps={"a": 1})
    assert at.worker.stall is None


def test_a_success_counts_the_steps_to_its_end_and_a_failure_does_not(at: Handler) -> None:
    at.report(steps={"a": 2, "b": 2}, ended={})
    at.report(ended={"a": make_outcome(A), "b": make_outcome(B, error="ValueError: no")})
    assert [n for cell, n in at.received.steps if cell == A.cell] == [2, STEPS - 2]
    assert [n for cell, n in at.received.steps if cell == B.cell] == [2]


# --- results ---


def test_a_result_is_taken_once_and_its_attempt_cannot_be_lost_any_more(at: Handler) -> None:
    outcome = make_outcome(A)
    for _ in range(2):  # our answer to the first was lost
        at.report(ended={"a": outcome}, log={"a": "its last line"})
    assert at.received.results == [Result(A, outcome, without_state=True)]
    assert at.lease(A).finishing
    assert not at.lease(B).finishing
    assert at.received.logs == [("a", "its last line"), ("a", "trained and tested")]


def test_a_result_that_comes_again_once_it_is_durable_is_no_late_one(
    at: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    at.report(ended={"a": make_outcome(A)})
    at.leases.end(["a"])
    at.report(ended={"a": make_outcome(A)})  # the worker does not know that we have it
    assert len(at.received.results) == 1
    assert "refused" not in caplog.text


def test_a_failure_is_logged_with_its_text(at: Handler, caplog: pytest.LogCaptureFixture) -> None:
    at.report(ended={"a": make_outcome(A, error="ValueError: no")})
    assert at.received.logs == [("a", "failed: ValueError: no")]
    assert f"{A.cell.label} failed: ValueError: no" in caplog.text


def test_a_late_result_is_refused_and_logged(at: Handler, caplog: pytest.LogCaptureFixture) -> None:
    at.leases.end(["a"])
    at.report(ended={"a": make_outcome(A)})
    at.report("stranger", ended={"b": make_outcome(B)})
    assert at.received.results == []
    assert f"late result of {A.cell.key} refused (attempt a)" in caplog.text
    assert f"late result of {B.cell.key} refused (attempt b)" in caplog.text


@pytest.mark.parametrize(
    ("is_first", "saved", "without_state"),
    [(True, {}, True), (True, {"a": 3}, False), (False, {}, False)],
)
def test_a_result_says_whether_its_cell_may_have_training_state(
    at: Handler, is_first: bool, saved: dict[str, int], without_state: bool
) -> None:
    attempt = replace(A, is_first=is_first)
    at.grant(attempt)
    at.report(saved=saved, ended={"a": make_outcome(attempt)})
    [result] = at.received.results
    assert result.without_state is without_state


# --- checkpoints and logs ---


def test_checkpoints_are_handed_on_when_they_are_new(at: Handler) -> None:
    for saved in ({"a": 3}, {"a": 3}, {"a": 6, "b": 5}, {"a": 6, "b": 5}):
        at.report(saved=saved)
    key, other = A.cell.key, B.cell.key
    assert at.received.checkpoints == [
        (key, Checkpoint("a", 3)),
        (key, Checkpoint("a", 6)),
        (other, Checkpoint("b", 5)),
    ]


def test_an_older_checkpoint_that_is_reported_late_replaces_no_newer_one(at: Handler) -> None:
    for step in (3, 6, 3):  # the first report was sent again: its answer was lost
        at.report(saved={"a": step})
    assert at.received.checkpoints[-1] == (A.cell.key, Checkpoint("a", 6))


def test_checkpoints_of_others_and_of_attempts_that_end_are_not_handed_on(at: Handler) -> None:
    at.report("stranger", saved={"a": 3})
    at.report(ended={"a": make_outcome(A)})
    at.report(saved={"a": 3})
    assert at.received.checkpoints == []


def test_log_lines_are_those_of_attempts_that_run(at: Handler) -> None:
    at.leases.end(["b"])
    at.report(log={"a": "10:00 step 3\n", "b": "10:00 step 3\n"})
    assert at.received.logs == [("a", "10:00 step 3\n")]


# --- disks ---


@pytest.fixture
def without_disk(tmp_path: Path) -> Iterator[SchedulerUnderTest]:
    """All parts of a coordinator, whose store and queue are gone."""
    made = SchedulerUnderTest(tmp_path)
    shutil.rmtree(made.path)
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    yield made
    asyncio.run(made.close())


def test_a_report_is_answered_without_an_event_loop_or_a_disk(
    without_disk: SchedulerUnderTest,
) -> None:
    at = without_disk
    worker = at.pool.start(CORE, now=0.0)
    at.leases.grant(Lease(A, worker.name, deadline=time.monotonic() + 60))
    at.report(worker, started={"a": 0}, steps={"a": 1}, saved={"a": 1}, log={"a": "a line\n"})
    assert at.report(worker, saved={"a": 3}, ended={"a": make_outcome(A)}) == set()
    assert at.results.pending == 1
    assert not at.path.exists()
    assert list((at.path.parent / "state").iterdir()) == []
