"""Coordinator: what it answers to clients and workers, how it opens, recovers and ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.coordinators import LocalCoordinator, local_coordinator
from support.queues import cells
from support.records import make_cell
from support.result_writers import make_outcome, result_writer, wait_until
from support.schedulers import RecordingSupervisor
from support.workers import GPU, HERE

import stn_cluster
from stn_cluster.cluster import coordinator as module
from stn_cluster.cluster import scheduler as scheduler_module
from stn_cluster.cluster import worker_pool as worker_pool_module
from stn_cluster.cluster.protocol import Report, Stall
from stn_cluster.cluster.rows import to_record
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.cluster.supervision import CRASHED, MAX_CRASHES, CrashLog
from stn_cluster.errors import (
    ConflictError,
    EndedError,
    NotFoundError,
    ServiceError,
    StoreError,
    UserError,
)
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.jobs import CellState, Job, Page
from stn_cluster.queue.submission import Submission
from stn_cluster.store import Store

pytestmark = pytest.mark.anyio

QUEUED, RUNNING, SUCCEEDED = CellState.QUEUED, CellState.RUNNING, CellState.SUCCEEDED


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Supervisor", RecordingSupervisor)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "TAKEOVER_SECONDS", 0.1)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 20.0)
    monkeypatch.setattr(module, "END_SECONDS", 1000.0)  # nobody is to end this process
    monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scheduler_module, "STOP_SECONDS", 0.1)


JOB = Job("j", cells(2))


# --- clients ---


async def test_a_coordinator_tells_its_version_and_its_settings(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=3) as coordinator:
        assert await coordinator.version() == stn_cluster.__version__
        assert (await coordinator.opened()).workers == 3


async def test_a_job_is_accepted_once_and_trained(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        assert await coordinator.submit(Submission.of(JOB))
        assert not await coordinator.submit(Submission.of(JOB))
        with pytest.raises(ConflictError, match="'j' is already used"):
            await coordinator.submit(Submission.of(replace(JOB, cells=cells(1))))
        worker = await coordinator.worker()
        running = await coordinator.status("j")
        assert (running.state, running.counts) == (RUNNING, {RUNNING: 1, QUEUED: 1})
        assert (running.workers, running.eta_seconds, running.trouble) == (1, None, None)
        await coordinator.finish(worker)
        await wait_until(lambda: len(worker.packs) == 2)
        await coordinator.finish(worker)
        await coordinator.until_ended("j")
        ended = await coordinator.status("j")
        assert (ended.state, ended.counts) == (SUCCEEDED, {SUCCEEDED: 2})
        assert await coordinator.jobs() == [ended]
        assert set(Store.open(coordinator.store_path).results()["key"]) == {
            cell.key for cell in JOB.cells
        }


async def test_cells_that_the_store_has_are_not_trained_again(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        await coordinator.submit(Submission.of(Job("j", cells(1))))
        await coordinator.finish(await coordinator.worker())
        await coordinator.until_ended("j")
        await coordinator.submit(Submission.of(Job("k", cells(1))))
        [status], _ = await coordinator.cells("k")
        assert (status.state, status.stored) == (SUCCEEDED, True)
        assert status.test_error == pytest.approx(3.5)


async def test_cells_of_a_job_have_the_steps_that_were_reported(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        await coordinator.submit(Submission.of(JOB))
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        await coordinator.report(worker.name, Report(steps={attempt.id: 5}))
        (first, second), last = await coordinator.cells("j")
        assert (first.state, first.step) == (RUNNING, 5)
        assert (second.state, second.step) == (QUEUED, 0)
        changed, _ = await coordinator.cells("j", Page(since=last))
        assert changed == (first,)  # what runs is always told
        queued, _ = await coordinator.cells("j", Page(states=(QUEUED,)))
        assert queued == (second,)


async def test_the_time_in_which_the_service_was_idle_is_in_no_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, later = time.monotonic, 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: real() + later)
    async with local_coordinator(tmp_path, workers=1, lease_seconds=1e6) as coordinator:
        one, *others = cells(5)
        await coordinator.submit(Submission.of(Job("first", (one,))))
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        started = {attempt.id: 0}
        await coordinator.report(worker.name, Report(steps=started, started=started))
        later += 2
        await coordinator.report(worker.name, Report(steps={attempt.id: 4}))
        estimate = (await coordinator.status("first")).eta_seconds
        assert estimate == pytest.approx(2, rel=0.5)  # half of its steps are left
        await coordinator.finish(worker)
        await coordinator.until_ended("first")
        later += 1000
        await coordinator.submit(Submission.of(Job("second", tuple(others))))
        assert (await coordinator.status("second")).eta_seconds is None
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        later += 60  # it loads
        started = {attempt.id: 0}
        await coordinator.report(worker.name, Report(steps=started, started=started))
        later += 2
        await coordinator.report(worker.name, Report(steps={attempt.id: 4}))
        estimate = (await coordinator.status("second")).eta_seconds
        assert estimate == pytest.approx(14, rel=0.5)  # four steps in 2 s, 28 are left


async def test_who_hangs_is_told_with_the_status_of_its_job(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        await coordinator.submit(Submission.of(JOB))
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        stall = Stall(200.0, "loads the data set mnist", (attempt.cell.key,))
        await coordinator.report(worker.name, Report(steps={attempt.id: 0}, stall=stall))
        [line] = (await coordinator.status("j")).waiting
        assert f"{attempt.cell.label}: it loads the data set mnist, on here" in line
        assert (await coordinator.status("j")).waiting == (line,)  # the same as long as it lasts
        other = make_cell(seed=99)
        await coordinator.submit(Submission.of(Job("k", (other,))))
        assert (await coordinator.status("k")).waiting == ()


async def test_cells_without_a_node_for_them_are_told_with_the_jobs_status(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path) as coordinator:
        cell = make_cell().model_copy(update={"needs": GPU})
        await coordinator.submit(Submission.of(Job("j", (cell,))))
        assert (await coordinator.status("j")).waiting == ("1 cell waits for a node with 1 GPU",)


async def test_a_cancelled_job_leaves_the_queue_and_can_be_retried(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        await coordinator.submit(Submission.of(JOB))
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        await coordinator.cancel("j")
        assert (await coordinator.status("j")).state is CellState.CANCELLED
        lost = await coordinator.report(worker.name, Report(steps={attempt.id: 5}))
        assert lost == {attempt.id}
        worker.return_pack()
        assert await coordinator.retry("j") == 2
        await wait_until(lambda: len(worker.packs) == 2)
        assert (await coordinator.status("j")).state is RUNNING


async def test_attempts_and_their_logs_are_found_by_key_and_by_label(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=1) as coordinator:
        await coordinator.submit(Submission.of(Job("j", cells(1))))
        worker = await coordinator.worker()
        [attempt] = worker.attempts
        await coordinator.report(worker.name, Report(log={attempt.id: "10:00 a line\n"}))
        for name in (attempt.cell.key, attempt.cell.label):
            [found] = await coordinator.attempts(name)
            assert (found.id, found.worker, found.end) == (attempt.id, HERE, None)
        log = await coordinator.log_of(attempt.cell.key, attempt.id)
        assert log is not None
        assert log.splitlines()[-1] == "10:00 a line"
        assert await coordinator.log_of(attempt.cell.key, "unknown") is None


async def test_the_service_is_told_in_numbers(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path, workers=2) as coordinator:
        await coordinator.submit(Submission.of(JOB))
        first, second = await coordinator.workers(2)
        await coordinator.finish(first)
        while not (metrics := await coordinator.metrics()).totals.attempts:
            await asyncio.sleep(0.01)
        assert (metrics.totals.jobs, metrics.totals.tried_cells) == (1, 2)
        assert metrics.totals.cells == {SUCCEEDED: 1, RUNNING: 1}
        assert metrics.totals.attempts == {"succeeded": 1}
        assert metrics.workers == 2
        assert metrics.images_per_second > 0
        assert not metrics.degraded
        second.die()
        while "died" not in (await coordinator.metrics()).totals.attempts:
            await asyncio.sleep(0.01)
        coordinator.pool.ray_failure = "the head is away"
        while not (await coordinator.metrics()).degraded:
            await asyncio.sleep(0.01)
        [job] = await coordinator.jobs()
        assert job.trouble == "Ray does not answer: the head is away"


async def test_unknown_names_are_user_errors_that_end_nothing(tmp_path: Path) -> None:
    async with local_coordinator(tmp_path) as coordinator:
        for call in (
            coordinator.status("x"),
            coordinator.cells("x"),
            coordinator.cancel("x"),
            coordinator.retry("x"),
            coordinator.attempts("x"),
        ):
            with pytest.raises(NotFoundError):
                await call
        assert await coordinator.jobs() == []


async def test_a_service_whose_workers_do_not_start_gives_up_if_it_was_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool_module, "FAILED_START_PAUSE", 0.01)
    async with local_coordinator(tmp_path, max_failed_starts=2) as coordinator:
        await coordinator.opened()
        coordinator.pool.starting = False
        await coordinator.submit(Submission.of(Job("j", cells(1))))
        for number in range(2):
            await wait_until(lambda number=number: len(coordinator.pool.started) > number)  # type: ignore[misc]
            coordinator.pool.started[number].die("no module named torch")
            await wait_until(lambda number=number: coordinator.pool.started[number].killed)  # type: ignore[misc]
        with pytest.raises(ServiceError, match=r"\(2 in a row\): no module named torch"):
            await coordinator.status("j")


# --- stopping ---


async def test_stopping_writes_results_and_interrupts_cells_that_the_next_goes_on_with(
    tmp_path: Path,
) -> None:
    coordinator = LocalCoordinator(tmp_path, workers=2)
    await coordinator.submit(Submission.of(JOB))
    first, second = await coordinator.workers(2)
    await coordinator.finish(first)
    [attempt] = second.attempts
    saved = Report(steps={attempt.id: 4}, saved={attempt.id: 4}, log={attempt.id: "last line\n"})
    await coordinator.report(second.name, saved)
    await coordinator.stop()
    for call in (coordinator.jobs(), coordinator.report(second.name, saved), coordinator.stop()):
        with pytest.raises(EndedError, match="the service has ended"):
            await call
    store = Store.open(coordinator.store_path)
    assert list(store.results()["key"]) == [first.attempts[0].cell.key]
    assert "last line" in str(store.logs.read(attempt.cell.key, attempt.id))

    async with local_coordinator(tmp_path, workers=1) as coordinator:
        worker = await coordinator.worker()
        [again] = worker.attempts
        assert again.resume_from is not None
        assert (again.resume_from.attempt, again.resume_from.step) == (attempt.id, 4)
        history = await coordinator.attempts(attempt.cell.key)
        assert [a.end and a.end.reason for a in history] == [ExitReason.INTERRUPTED, None]


async def test_stopping_with_a_store_that_is_away_says_so_and_lets_go_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.2)
    coordinator = LocalCoordinator(tmp_path)
    await coordinator.submit(Submission.of(Job("j", cells(1))))
    worker = await coordinator.worker()
    away = coordinator.store_path.rename(tmp_path / "away")
    await coordinator.finish(worker)
    with pytest.raises(StoreError, match="the store's folder is not there"):
        await coordinator.stop()
    away.rename(coordinator.store_path)
    async with local_coordinator(tmp_path) as coordinator:
        again = await coordinator.worker()  # the result is lost, the cell is not
        assert again.attempts[0].id != worker.attempts[0].id


async def test_a_service_that_waits_for_its_store_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.2)
    coordinator = LocalCoordinator(tmp_path)
    await coordinator.submit(Submission.of(JOB))
    await coordinator.stop()
    away = coordinator.store_path.rename(tmp_path / "away")
    restarted = LocalCoordinator(tmp_path, restarted=True)
    asking = asyncio.create_task(restarted.jobs())
    for call in (restarted.stop(), asking):
        with pytest.raises(EndedError, match="ended before it was open"):
            await call
    away.rename(coordinator.store_path)


# --- opening and recovery ---


async def test_calls_wait_until_store_and_queue_are_open(tmp_path: Path) -> None:
    coordinator = LocalCoordinator(tmp_path)
    calls = [
        coordinator.submit(Submission.of(JOB)),
        coordinator.jobs(),
        coordinator.report("w", Report()),
    ]
    new, jobs, lost = await asyncio.gather(*calls)
    assert (new, lost) == (True, set())
    assert len(jobs) <= 1
    await coordinator.stop()


async def test_a_store_that_cannot_be_used_is_told_to_all_who_ask(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    coordinator = LocalCoordinator(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match="a store is a folder"):
            await coordinator.submit(Submission.of(JOB))


async def test_a_state_that_cannot_be_used_is_told_to_all_who_ask(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    coordinator = LocalCoordinator(tmp_path)
    with pytest.raises(StoreError, match="cannot hold the service's state"):
        await coordinator.submit(Submission.of(JOB))


async def test_a_state_that_another_service_holds_is_left_alone(tmp_path: Path) -> None:
    with lock_state_folder(tmp_path / "state"):
        coordinator = LocalCoordinator(tmp_path)
        with pytest.raises(StoreError, match="another service holds this state folder"):
            await coordinator.jobs()
    assert not (tmp_path / "state" / "queue.sqlite").exists()


async def test_a_coordinator_that_cannot_open_lets_go_of_store_and_state(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    (tmp_path / "store" / "cells" / "torn.parquet").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"torn\.parquet: torn"):
        await LocalCoordinator(tmp_path).jobs()
    lock_state_folder(tmp_path / "state").close()
    store.lock().close()


async def test_a_restarted_coordinator_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    coordinator = LocalCoordinator(tmp_path)
    await coordinator.submit(Submission.of(JOB))
    await coordinator.stop()
    away = coordinator.store_path.rename(tmp_path / "away")
    with pytest.raises(StoreError, match="no result store here"):  # a new one does not wait
        await LocalCoordinator(tmp_path).jobs()
    restarted = LocalCoordinator(tmp_path, restarted=True)
    asking = asyncio.create_task(restarted.jobs())
    await asyncio.sleep(0.2)
    assert not asking.done()
    away.rename(coordinator.store_path)
    [job] = await asking
    assert job.job_id == "j"
    await restarted.stop()


async def test_cells_that_ran_when_the_coordinator_died_are_queued_again(tmp_path: Path) -> None:
    async with result_writer(tmp_path, cells=2) as dead:
        stored, lost = dead.running
        # Of one the store has the result, and the queue was not told.
        dead.store.commit([to_record(stored, make_outcome(stored))])
        await wait_until(lambda: not dead.unrecorded())
    async with local_coordinator(tmp_path, restarted=True) as coordinator:
        worker = await coordinator.worker()
        assert [a.cell for a in worker.attempts] == [lost.cell]
        history = await coordinator.attempts(lost.cell.key)
        assert [a.end and a.end.reason for a in history] == [ExitReason.COORDINATOR_LOST, None]
        assert not history[0].end.counts  # type: ignore[union-attr]
        log = await coordinator.log_of(lost.cell.key, lost.id)
        assert "coordinator lost: the cell is queued again" in str(log)
        assert await coordinator.report("dead", Report(steps={lost.id: 7})) == {lost.id}
        status, _ = await coordinator.cells("j", Page(states=(SUCCEEDED,)))
        assert [s.cell.key for s in status] == [stored.cell.key]


async def test_a_service_that_crashed_too_often_ends_with_the_last_error(tmp_path: Path) -> None:
    crashes = CrashLog(tmp_path / "state")
    (tmp_path / "state").mkdir()
    for _ in range(MAX_CRASHES):
        crashes.add("plan workers: KeyError: 'x'")
    restarted = LocalCoordinator(tmp_path, restarted=True)
    with pytest.raises(EndedError, match=r"failed 3 times .* plan workers: KeyError: 'x'"):
        await restarted.jobs()
    async with local_coordinator(tmp_path) as coordinator:  # started by people: it may be mended
        assert await coordinator.jobs() == []
        assert crashes.verdict() is None


# --- errors of our own ---


FAILING = """
import asyncio, logging, sys
from pathlib import Path
from support.coordinators import LocalCoordinator
from support.queues import cells
from stn_cluster.cluster.protocol import Report, Stall
from stn_cluster.queue.jobs import Job
from stn_cluster.queue.submission import Submission

logging.basicConfig()

def fail(*args):
    raise KeyError("a mistake of ours")

async def main():
    coordinator = LocalCoordinator(Path(sys.argv[1]))
    if sys.argv[2] == "open store and queue":
        coordinator._open_files = fail
    await coordinator.submit(Submission.of(Job("j", cells(1))))
    worker = await coordinator.worker()
    if sys.argv[2] == "handle a report":
        [attempt] = worker.attempts
        await coordinator.report(worker.name, Report(ended={attempt.id: None}))
    if sys.argv[2] == "plan workers":
        coordinator.pool.refresh_nodes = fail
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("place", ["open store and queue", "handle a report", "plan workers"])
def test_a_mistake_of_ours_ends_the_process_and_is_counted(tmp_path: Path, place: str) -> None:
    (tmp_path / "state").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path), place],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert done.returncode == CRASHED, done.stderr
    assert f"the coordinator ends: {place} failed" in done.stderr
    [crash] = json.loads((tmp_path / "state" / "crashes.json").read_text())
    assert crash["message"].startswith(f"{place}: ")


async def test_a_user_error_in_a_report_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("no folder")
    coordinator = LocalCoordinator(tmp_path)
    with suppress(StoreError):
        await coordinator.opened()
    with pytest.raises(UserError):
        await coordinator.report("w", Report())
    assert not (tmp_path / "state" / "crashes.json").exists()
