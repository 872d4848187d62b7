"""Worker: its reports and heartbeats, and its end where nobody answers them. Without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from support import runners
from support.records import make_cell
from support.result_writers import make_outcome
from support.runners import ScriptedRunner
from support.workers import HERE

from stn_cluster.cluster import worker as module
from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker import LEASE_LOST, Worker
from stn_cluster.queue.attempts import Attempt, utc_now


def make_attempt(name: str, seed: int) -> Attempt:
    return Attempt(name, make_cell(seed=seed), "j", pack_size=2, worker=HERE, started_at=utc_now())


PACK = A, B = make_attempt("a", 0), make_attempt("b", 1)


class Coordinator:
    """Stands for the coordinator: remembers what was reported."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.lost: set[str] = set()  # what it answers
        self.away = 0  # so many reports are not answered
        self.refused: list[Report] = []
        self.seconds: list[float] = []  # for which an answer was waited for

    def report(self, worker: str, report: Report, seconds: float) -> set[str]:
        assert worker == "w"
        self.seconds.append(seconds)
        if self.away:
            self.away -= 1
            self.refused.append(report)
            raise ConnectionError("the coordinator does not answer")
        self.reports.append(report)
        return self.lost

    def train(self, worker: Worker, pack: Sequence[Attempt]) -> None:
        """Has a pack trained, and gets its last report, which comes back with it."""
        self.reports.append(worker.train(pack))

    def log(self, attempt: str) -> str:
        """All lines that were reported for an attempt's log."""
        return "".join(report.log.get(attempt, "") for report in self.reports)


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


@pytest.fixture
def make_worker(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Worker]]:
    """Makes a worker that goes through a script; its heart does not beat unless asked to."""

    def make(script: runners.Script = runners.nothing, **settings: Any) -> Worker:
        monkeypatch.setattr(ScriptedRunner, "script", staticmethod(script))
        fields = {"heartbeat_seconds": 1000.0, "runner": runners.NAME, **settings}
        away, coordinator.away = coordinator.away, 0
        made = Worker("w", Settings(store="s", state="s", **fields), "cpu", coordinator.report)
        assert coordinator.reports.pop() == Report()  # its first sign of life
        coordinator.seconds.clear()
        coordinator.away = away
        return made

    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    yield make
    ScriptedRunner.made.clear()


def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


MakeWorker = Callable[..., Worker]
Pack = Sequence[Attempt]


# --- reports ---


def test_results_are_reported_with_steps_and_checkpoints_and_once(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 0, "b": 0}, started={"a": 0, "b": 0})
        yield Report(steps={"a": 4, "b": 4}, saved={"a": 4})
        yield Report(steps={"a": 5, "b": 5}, saved={"b": 5})
        yield Report(steps={"b": 8}, ended={"a": make_outcome(A)})
        yield Report(steps={}, ended={"b": make_outcome(B)})

    coordinator.train(make_worker(script), PACK)
    first, second = coordinator.reports
    assert first == Report(
        steps={"b": 8},
        started={"a": 0, "b": 0},
        saved={"a": 4, "b": 5},
        ended={"a": make_outcome(A)},
    )
    assert second == Report(saved={"a": 4, "b": 5}, ended={"b": make_outcome(B)})


def test_what_comes_back_with_a_pack_is_reported_once_if_no_other_pack_follows(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        [attempt] = pack
        log.line(attempt.id, "its last line")
        yield Report(ended={attempt.id: make_outcome(attempt)})

    worker = make_worker(script, heartbeat_seconds=0.1)
    worker.train([A])
    last = worker.train([B])  # whoever sends this has the end of the other
    wait_until(lambda: coordinator.reports)
    time.sleep(0.5)  # five more heartbeats
    assert coordinator.reports == [last]
    assert (set(last.ended), set(last.log)) == ({"b"}, {"b"})


def test_a_result_does_not_wait_for_what_follows_in_its_pack(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(ended={"a": make_outcome(A)})  # as of cells with other plug-ins than the rest
        wait_until(lambda: any(report.ended for report in coordinator.reports))
        yield Report(ended={"b": make_outcome(B)})

    coordinator.train(make_worker(script, heartbeat_seconds=0.01), PACK)
    ended = [set(report.ended) for report in coordinator.reports if report.ended]
    assert ended[:2] == [{"a"}, {"b"}]


def test_a_pack_without_results_is_reported_at_its_end(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 4, "b": 4}, saved={"a": 4, "b": 4})

    coordinator.train(make_worker(script), PACK)
    assert coordinator.reports == [Report(steps={"a": 4, "b": 4}, saved={"a": 4, "b": 4})]


def test_the_next_pack_starts_with_a_report_of_its_own(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        [attempt] = pack
        yield Report(steps={attempt.id: 4}, saved={attempt.id: 4})

    worker = make_worker(script)
    coordinator.train(worker, [A])
    coordinator.train(worker, [B])
    assert coordinator.reports[1] == Report(steps={"b": 4}, saved={"b": 4})


def test_prints_and_log_lines_are_reported_with_the_next_report(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        print("of both")
        log.line("a", "of a")
        yield Report(ended={"a": make_outcome(A), "b": make_outcome(B)})
        log.line("b", "last line")

    coordinator.train(make_worker(script), PACK)
    assert coordinator.log("a").splitlines()[1].endswith("of a")
    assert [line.split(" ", 1)[1] for line in coordinator.log("b").splitlines()] == [
        "of both",
        "last line",
    ]


def test_a_worker_says_why_it_cannot_reach_the_store(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    worker = make_worker()
    [runner] = ScriptedRunner.made
    runner.degraded_reason = "no route to host"
    coordinator.train(worker, PACK)
    assert [report.degraded_reason for report in coordinator.reports] == ["no route to host"]


def test_attempts_that_are_lost_are_dropped(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 3}, ended={"b": make_outcome(B)})

    coordinator.lost = {"a"}
    coordinator.train(make_worker(script), PACK)
    assert ScriptedRunner.made[0].dropped == {"a"}


def test_stopping_is_the_runners(make_worker: MakeWorker) -> None:
    make_worker().stop()
    assert ScriptedRunner.made[0].stopped


def test_the_runner_gets_the_device_and_the_settings(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    settings = Settings(store="s", state="s", runner=runners.NAME)
    Worker("w", settings, "cuda", coordinator.report)
    [runner] = ScriptedRunner.made
    assert (runner.device, runner.settings) == ("cuda", settings)


def test_a_report_that_is_not_answered_is_sent_again_as_it_was(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        log.line("a", "a line")
        yield Report(steps={"b": 8}, ended={"a": make_outcome(A)})
        yield Report(ended={"b": make_outcome(B)})

    coordinator.away = 3
    coordinator.train(make_worker(script, lease_seconds=60.0), PACK)
    assert coordinator.refused == [coordinator.reports[0]] * 3
    assert [set(report.ended) for report in coordinator.reports] == [{"a"}, {"b"}]
    assert coordinator.log("a").count("a line") == 1
    assert all(0 < seconds <= 60 for seconds in coordinator.seconds)
    assert coordinator.seconds[:4] == sorted(coordinator.seconds[:4], reverse=True)


# --- fatal errors ---


def test_the_last_lines_of_a_fatal_error_are_reported_before_it_is_raised(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 3, "b": 3})
        print("step 3")
        raise MemoryError("the device is full")

    with pytest.raises(MemoryError, match="the device is full"):
        coordinator.train(make_worker(script), PACK)
    for attempt in ("a", "b"):
        lines = [line for line in coordinator.log(attempt).splitlines() if line]
        assert lines[0].endswith("step 3")
        assert "Traceback (most recent call last)" in lines[1]
        assert lines[-1] == "MemoryError: the device is full"
    assert coordinator.reports[-1].ended == {}


def test_a_fatal_error_is_raised_also_where_its_last_lines_cannot_be_reported(
    make_worker: MakeWorker, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 3})
        raise MemoryError("the device is full")

    worker = make_worker(script)
    [runner] = ScriptedRunner.made

    def no_memory(attempts: set[str]) -> None:
        raise MemoryError("nor for this")

    monkeypatch.setattr(runner, "drop", no_memory)
    with pytest.raises(MemoryError, match="the device is full"):
        coordinator.train(worker, PACK)


# --- heartbeats ---


def test_heartbeats_are_sent_while_a_pack_is_trained_and_not_between_packs(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    go_on = threading.Event()

    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        yield Report(steps={"a": 3}, started={"a": 3}, saved={"a": 3})
        assert go_on.wait(60)
        yield Report(ended={"a": make_outcome(A)})

    worker = make_worker(script, heartbeat_seconds=0.01)
    time.sleep(0.1)
    assert coordinator.reports == []  # it has no pack
    training = threading.Thread(target=worker.train, args=([A],), daemon=True)
    training.start()
    wait_until(lambda: len(coordinator.reports) >= 5)
    told = [report for report in coordinator.reports if report.steps.get("a")]
    assert told[0] == Report(steps={"a": 3}, started={"a": 3}, saved={"a": 3})
    assert told[1] == Report(steps={"a": 3}, saved={"a": 3})  # it starts once
    go_on.set()
    training.join()
    wait_until(lambda: coordinator.reports[-1].ended or not coordinator.reports[-1].steps)
    time.sleep(0.05)  # one may be under way
    count = len(coordinator.reports)
    time.sleep(0.1)
    assert len(coordinator.reports) == count
    assert [set(report.ended) for report in coordinator.reports if report.ended] == [{"a"}]


def test_heartbeats_drop_what_is_lost_while_the_pack_is_trained(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        [runner] = ScriptedRunner.made
        yield Report(steps={"a": 3, "b": 3})
        coordinator.lost = {"b"}
        wait_until(lambda: runner.dropped == {"b"})

    coordinator.train(make_worker(script, heartbeat_seconds=0.01), PACK)


# --- packs without progress ---


def test_a_heartbeat_tells_what_a_pack_without_progress_is_doing(
    make_worker: MakeWorker, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.05)

    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        [runner] = ScriptedRunner.made
        runner.activity.begin("builds its model", A.cell.key)
        wait_until(lambda: any(report.stall for report in coordinator.reports))
        count = len(coordinator.reports)
        runner.activity.begin("takes step 1", A.cell.key)
        wait_until(lambda: any(not report.stall for report in coordinator.reports[count:]))
        yield Report(ended={"a": make_outcome(A)})

    coordinator.train(make_worker(script, heartbeat_seconds=0.01), PACK)
    stall = next(report.stall for report in coordinator.reports if report.stall)
    assert (stall.what, stall.keys) == ("builds its model", (A.cell.key,))
    assert stall.seconds >= 0.05


def test_a_pack_is_reported_from_its_first_heartbeat_so_that_it_can_be_cancelled_while_it_loads(
    make_worker: MakeWorker, coordinator: Coordinator
) -> None:
    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        wait_until(lambda: coordinator.reports)
        yield Report(steps={"a": 3, "b": 3}, started={"a": 3, "b": 3})

    coordinator.train(make_worker(script, heartbeat_seconds=0.01), PACK)
    assert coordinator.reports[0] == Report(steps={"a": 0, "b": 0})


def test_the_time_between_two_packs_is_no_time_without_progress(
    make_worker: MakeWorker, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.2)

    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        count = len(coordinator.reports)
        wait_until(lambda: len(coordinator.reports) > count)
        yield Report()

    worker = make_worker(script, heartbeat_seconds=0.01)
    time.sleep(0.5)
    coordinator.train(worker, PACK)
    assert coordinator.reports[0].stall is None


def test_the_code_that_hangs_is_in_the_log_of_the_cell_whose_it_is_and_once(
    make_worker: MakeWorker, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.01)

    def where_it_hangs() -> None:
        wait_until(lambda: "the code that runs" in coordinator.log("a"))
        count = len(coordinator.reports)
        wait_until(lambda: len(coordinator.reports) > count + 3)

    def script(pack: Pack, log: AttemptLog) -> Iterator[Report]:
        [runner] = ScriptedRunner.made
        runner.activity.begin("builds its model", A.cell.key)
        where_it_hangs()
        yield Report()

    coordinator.train(make_worker(script, heartbeat_seconds=0.01, no_progress_seconds=0.5), PACK)
    log = coordinator.log("a")
    assert log.count("no progress for 0 s: it builds its model; the code that runs:") == 1
    assert "in where_it_hangs" in log
    assert coordinator.log("b") == ""


FORSAKEN = r"""
import os, sys, time
from support.runners import NAME, ScriptedRunner
from support.workers import HERE
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker import Worker

answers = int(sys.argv[1])
out = os.dup(1)  # as what is printed goes to the attempts' logs

def report(worker, report, seconds):
    global answers
    if not answers:
        raise ConnectionError
    answers -= 1
    os.write(out, b"answered\n")
    return set()

def script(pack, log):
    yield Report(steps={"a": 1})
    time.sleep(60)

ScriptedRunner.script = staticmethod(script)
settings = Settings(
    store="s", state="s", runner=NAME, heartbeat_seconds=0.02, lease_seconds=1.0
)
Worker("w", settings, "cpu", report).train([])
"""


def test_a_worker_whose_heartbeats_are_not_answered_for_a_lease_ends_its_process() -> None:
    answers = 60  # for longer than a lease
    done = subprocess.run(
        [sys.executable, "-c", FORSAKEN, str(answers)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (LEASE_LOST, "")
    assert done.stdout.count("answered") == answers
