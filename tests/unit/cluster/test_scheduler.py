"""Scheduler: packs for workers, and the cells of workers that end. Without Ray."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.queues import cells, pack
from support.records import make_cell
from support.result_writers import make_outcome, wait_until
from support.schedulers import SchedulerUnderTest, scheduler
from support.workers import TWO_CORES, FakeWorker, make_nodes

from stn_cluster.cluster import result_writer as result_writer_module
from stn_cluster.cluster import scheduler as module
from stn_cluster.cluster import worker_pool as worker_pool_module
from stn_cluster.cluster.placement import SMALL_CPU_PACK, Node, WorkerState, fair_share
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue import database as database_module
from stn_cluster.queue.attempts import Attempt, Checkpoint, ExitReason
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.submit import cancel

pytestmark = pytest.mark.anyio

QUEUED, RUNNING, SUCCEEDED = CellState.QUEUED, CellState.RUNNING, CellState.SUCCEEDED
FAILED, CANCELLED = CellState.FAILED, CellState.CANCELLED


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(result_writer_module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(result_writer_module, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(Settings, "scan_seconds", 0.02)


def read_only(value: bool) -> Callable[[sqlite3.Connection], None]:
    """Makes the queue's file unwritable, as a full disk is; or writable again."""

    def change(db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA query_only = {value}")

    return change


async def running(at: SchedulerUnderTest) -> tuple[FakeWorker, Attempt]:
    """A worker and the one attempt that it runs."""
    worker = await at.worker()
    [attempt] = worker.attempts
    return worker, attempt


# --- packs for workers ---


async def test_as_many_workers_as_the_limit_allows_train_all_cells(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=2) as at:
        await at.submit(*cells(3))
        first, second = await at.workers(2)
        assert sorted(at.states()) == [QUEUED, RUNNING, RUNNING]
        assert {a.cell.seed for w in (first, second) for a in w.attempts} == {0, 1}
        at.finish(first)
        await wait_until(lambda: len(first.packs) == 2)
        assert [a.cell.seed for a in first.attempts] == [2]
        at.finish(first)
        at.finish(second)
        await wait_until(at.ended)
        assert at.states() == [SUCCEEDED] * 3
        assert len(at.pool.started) == 2
        assert len(at.leases) == 0


async def test_a_worker_is_handed_cells_of_one_stream_as_a_pack(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=None) as at:
        await at.submit(*pack(SMALL_CPU_PACK + 2))
        worker = await at.worker()
        assert [a.pack_size for a in worker.attempts] == [SMALL_CPU_PACK] * SMALL_CPU_PACK
        assert [lease.attempt for lease in at.leases.of(worker.name)] == list(worker.attempts)
        assert all(a.worker == worker.info for a in worker.attempts)
        at.finish(worker)
        await wait_until(lambda: len(worker.packs) == 2)
        assert [a.pack_size for a in worker.attempts] == [2, 2]


async def test_cells_that_were_just_claimed_are_not_shared_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 1000.0)  # the queue is looked at once
    at = SchedulerUnderTest(tmp_path, workers=2, cells_per_pack=None)
    at.pool.starting = False
    await at.submit(*pack(8))
    at.start()
    try:
        await wait_until(lambda: len(at.pool.started) == 2)
        worker, _ = at.pool.started
        worker.start()
        await wait_until(lambda: worker.packs)
        at.finish(worker)
        await wait_until(lambda: len(worker.packs) == 2)
        assert (
            [len(each) for each in worker.packs] == [fair_share(8, 2), fair_share(6, 2)] == [2, 1]
        )
    finally:
        await at.close()


async def test_a_service_of_one_job_trains_no_other_jobs_cells(tmp_path: Path) -> None:
    async with scheduler(tmp_path, only_job="mine") as at:
        mine, others = cells(2)
        await at.submit(others)
        await at.submit(mine, job_id="mine")
        worker, attempt = await running(at)
        assert attempt.cell == mine
        at.finish(worker)
        await wait_until(lambda: at.committed)
        await at.looks()
        assert at.states() == [QUEUED]


async def test_a_worker_that_has_been_idle_for_a_while_is_stopped(tmp_path: Path) -> None:
    async with scheduler(tmp_path, idle_seconds=0.1) as at:
        await at.submit(*cells(1))
        worker = await at.worker()
        at.finish(worker)
        await wait_until(lambda: not at.pool.workers)
        assert worker.killed
        assert len(at.pool.started) == 1


async def test_an_idle_worker_is_handed_the_cells_of_the_next_job(tmp_path: Path) -> None:
    async with scheduler(tmp_path, idle_seconds=1000) as at:
        one, other = cells(2)
        await at.submit(one)
        worker = await at.worker()
        at.finish(worker)
        await wait_until(lambda: worker.state is WorkerState.IDLE)
        await at.looks()
        await at.submit(other, job_id="k")
        await wait_until(lambda: len(worker.packs) == 2)
        assert at.pool.started == [worker]


async def test_a_worker_is_released_between_two_packs_for_a_more_urgent_kind(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=2) as at:
        at.pool.nodes = make_nodes({"CPU": 2})
        await at.submit(*cells(9))
        first, second = await at.workers(2)
        urgent = make_cell(seed=9).model_copy(update={"needs": TWO_CORES})
        await at.submit(urgent, job_id="urgent", priority=1)
        await at.looks()
        assert not first.killed  # not in the midst of a pack
        at.finish(first)
        at.finish(second)
        await wait_until(lambda: first.killed and second.killed)
        await wait_until(lambda: len(at.pool.started) > 2 and at.pool.started[2].packs)
        worker = at.pool.started[2]
        assert (worker.needs, [a.cell for a in worker.attempts]) == (TWO_CORES, [urgent])
        assert (len(first.packs), len(second.packs)) == (1, 1)


async def test_a_pending_worker_that_no_queued_cell_needs_is_cancelled(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        at.pool.starting = False
        await at.submit(*cells(1))
        await wait_until(lambda: at.pool.workers)
        [worker] = at.pool.started
        await at.looks()
        assert not worker.killed
        await at.database.write(cancel, "j")
        await wait_until(lambda: not at.pool.workers)
        assert worker.killed
        assert at.pool.start_failure is None  # nobody was to blame


async def test_a_worker_that_fails_to_start_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool_module, "FAILED_START_PAUSE", 0.01)
    async with scheduler(tmp_path) as at:
        at.pool.starting = False
        await at.submit(*cells(1))
        await wait_until(lambda: at.pool.workers)
        at.pool.started[0].die("no module named torch")
        await wait_until(lambda: len(at.pool.started) == 2)
        assert at.pool.start_failure == "no worker starts (1 in a row): no module named torch"
        assert at.states() == [QUEUED]
        at.pool.started[1].start()
        await at.worker()
        assert at.pool.start_failure is None


# --- workers that are lost ---


async def test_the_cell_of_a_worker_that_died_is_queued_again_for_another(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        worker.die("killed by the kernel")
        await wait_until(lambda: len(at.pool.started) == 2)
        other, again = await running(at)
        assert (again.cell, again.id != attempt.id) == (attempt.cell, True)
        assert worker.killed
        end = at.end_of(attempt)
        assert end is not None
        assert (end.reason, end.message) == (ExitReason.DIED, "killed by the kernel")
        assert end.counts  # it ran alone
        log = await at.housekeeping.read_log(attempt.cell.key, attempt.id)
        assert log is not None
        opening, died = log.splitlines()
        assert opening.endswith(
            "CNN/none/R/seed0 (digits, smoke) for job j on here, cpu, process 123"
        )
        assert died.endswith("died: killed by the kernel")
        at.finish(other)
        await wait_until(at.ended)
        assert at.rows() == [again.id]


async def test_a_pack_whose_worker_died_is_queued_again_each_cell_by_itself(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=3) as at:
        await at.submit(*pack(3))
        worker = await at.worker()
        done, *others = worker.attempts
        at.report(worker, ended={done.id: make_outcome(done)})
        worker.die()
        await wait_until(lambda: len(at.pool.started) == 2)
        _, again = await running(at)
        assert again.pack_size == 1
        await wait_until(lambda: at.committed)
        assert at.reasons(done.cell.key) == [ExitReason.SUCCEEDED]  # it had reported its result
        ends = [at.end_of(attempt) for attempt in others]
        assert [(e.reason, e.counts) for e in ends if e] == [(ExitReason.DIED, False)] * 2


@pytest.mark.parametrize("seen", ["by Ray", "among the nodes"])
async def test_an_end_with_the_node_is_a_lost_node_and_counts_as_no_failure(
    tmp_path: Path, seen: str
) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        if seen == "among the nodes":
            at.pool.nodes = [Node("0", alive=False, resources={}), Node("1", True, {"CPU": 4.0})]
        worker.die(node_lost=seen == "by Ray")
        await wait_until(lambda: at.end_of(attempt))
        end = at.end_of(attempt)
        assert end is not None
        assert (end.reason, end.counts) == (ExitReason.NODE_LOST, False)


async def test_a_worker_that_comes_back_without_a_result_has_died(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        worker.return_pack()
        await wait_until(lambda: at.end_of(attempt))
        end = at.end_of(attempt)
        assert end is not None
        assert end.reason is ExitReason.DIED
        assert end.message == "its worker came back without its result"


async def test_a_cell_without_retries_left_fails_once_with_all_reasons(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        for number in range(3):
            worker, attempt = await running(at)
            worker.die(f"reason {number}")
            await wait_until(lambda attempt=attempt: at.end_of(attempt))  # type: ignore[misc]
        await wait_until(at.ended)
        await at.looks()
        [row] = at.store.results(latest=False).to_dict("records")
        assert (row["attempt"], row["status"]) == (attempt.id, "failed")
        assert row["error"] == (
            "given up after these ends:\n1. died: reason 0\n2. died: reason 1\n3. died: reason 2"
        )
        assert at.states() == [FAILED]


async def test_a_failure_that_waits_for_the_store_is_not_given_to_it_again(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        async with at.slow_store():
            for _ in range(3):
                worker, attempt = await running(at)
                worker.die()
                await wait_until(lambda attempt=attempt: at.end_of(attempt))  # type: ignore[misc]
            await wait_until(lambda: at.results.pending)
            await at.looks()
            assert at.results.pending == 1
        await wait_until(at.ended)
        await at.looks()
        assert at.rows() == [attempt.id]


# --- workers that are silent, or cannot be reached ---


async def test_a_worker_without_heartbeats_is_killed_and_its_cell_queued_again(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, lease_seconds=0.3, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        await wait_until(lambda: at.end_of(attempt))
        end = at.end_of(attempt)
        assert end is not None
        assert (end.reason, end.message, end.counts) == (
            ExitReason.EXPIRED,
            "its worker was not heard of for 0.3 s",
            True,
        )
        assert worker.killed
        assert at.report(worker, steps={attempt.id: 3}) == {attempt.id}
        await wait_until(lambda: len(at.pool.started) > 1)


async def test_a_silent_worker_on_a_node_that_is_gone_is_a_lost_node(tmp_path: Path) -> None:
    async with scheduler(tmp_path, lease_seconds=0.3) as at:
        await at.submit(*cells(1))
        _, attempt = await running(at)
        at.pool.nodes = [Node("0", alive=False, resources={}), Node("1", True, {"CPU": 4.0})]
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.NODE_LOST


async def test_a_worker_that_does_not_come_back_after_its_results_is_replaced(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, lease_seconds=0.2, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        at.report(worker, ended={attempt.id: make_outcome(attempt)})
        await wait_until(lambda: worker.killed)
        await wait_until(at.ended)
        assert at.reasons(attempt.cell.key) == [ExitReason.SUCCEEDED]


async def test_a_worker_whose_connection_breaks_ends_its_pack_and_is_replaced(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(2))
        worker, attempt = await running(at)
        worker.disconnect()
        at.report(worker, steps={attempt.id: 3})
        await at.scans()
        worker.reconnect()
        at.report(worker, ended={attempt.id: make_outcome(attempt)})
        await wait_until(lambda: any(w.packs for w in at.pool.started if w is not worker))
        await wait_until(lambda: at.committed)
        assert at.reasons(attempt.cell.key) == [ExitReason.SUCCEEDED]
        assert worker.killed
        assert len(worker.packs) == 1


async def test_a_worker_whose_connection_breaks_and_that_then_died_is_lost(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        worker.disconnect()
        await at.scans()
        worker.die("its node has died", node_lost=True)
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.NODE_LOST


# --- cancelled cells ---


async def cancel_job(at: SchedulerUnderTest, job_id: str) -> None:
    """Cancels a job, as the coordinator does."""
    at.scheduler.cancel(await at.database.write(cancel, job_id))


async def test_a_cancelled_cell_that_does_not_stop_costs_its_worker_after_the_grace(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2, cancel_grace_seconds=0.1) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        stuck, mate = worker.attempts
        await at.submit(mate.cell, job_id="k")
        await cancel_job(at, "j")
        while not worker.killed:
            lost = at.report(worker, steps={stuck.id: 3, mate.id: 3})
            assert lost >= {stuck.id}
            await asyncio.sleep(0.01)
        await wait_until(lambda: at.end_of(mate))
        assert at.reasons(stuck.cell.key) == [ExitReason.CANCELLED]
        end = at.end_of(mate)
        assert end is not None
        assert (end.reason, end.counts) == (ExitReason.INTERRUPTED, False)
        assert end.message == "its worker was ended with a cancelled cell that did not stop"


async def test_a_cancelled_cell_that_stops_costs_its_worker_nothing(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2, cancel_grace_seconds=0.1) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        cancelled, mate = worker.attempts
        await at.submit(mate.cell, job_id="k")
        await cancel_job(at, "j")
        assert at.report(worker, steps={cancelled.id: 3, mate.id: 3}) == {cancelled.id}
        assert at.report(worker, steps={mate.id: 4}) == set()
        await asyncio.sleep(0.2)  # longer than the grace
        await at.scans()
        assert not worker.killed
        at.report(worker, ended={mate.id: make_outcome(mate)})
        worker.return_pack()
        await wait_until(lambda: at.committed)
        assert at.reasons(cancelled.cell.key) == [ExitReason.CANCELLED]
        assert at.reasons(mate.cell.key) == [ExitReason.SUCCEEDED]
        log = await at.housekeeping.read_log(cancelled.cell.key, cancelled.id)
        assert "cancelled: no job wants the cell any more" in str(log)


async def test_a_heartbeat_that_comes_after_its_pack_has_ended_costs_an_idle_worker_nothing(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cancel_grace_seconds=0.05) as at:
        one, other = cells(2)
        await at.submit(one)
        worker, attempt = await running(at)
        at.finish(worker)
        await wait_until(lambda: worker.state is WorkerState.IDLE and at.committed)
        assert at.report(worker, steps={attempt.id: 8}) == {attempt.id}
        await asyncio.sleep(0.1)  # longer than the grace
        await at.scans()
        await at.submit(other, job_id="k")
        await wait_until(lambda: len(worker.packs) == 2)
        await at.scans()
        assert at.pool.started == [worker]
        assert not worker.killed


# --- troubles ---


async def test_no_cell_is_claimed_while_the_store_is_away(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(2))
        worker, attempt = await running(at)
        away = at.path.rename(tmp_path / "away")
        at.report(worker, ended={attempt.id: make_outcome(attempt)})
        await wait_until(lambda: at.scheduler.degraded_reason)
        worker.return_pack()
        assert str(at.path) in str(at.scheduler.degraded_reason)
        await at.looks()
        assert at.count(QUEUED) == 1
        away.rename(at.path)
        await wait_until(lambda: len(worker.packs) == 2)
        assert at.scheduler.degraded_reason is None


async def test_no_cell_is_claimed_while_a_worker_cannot_reach_the_store(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=2) as at:
        await at.submit(*cells(3))
        first, second = await at.workers(2)
        at.report(first, degraded_reason="s3://results: no route to host")
        at.finish(second)
        await wait_until(lambda: at.committed)
        await at.looks()
        assert at.scheduler.degraded_reason == "s3://results: no route to host"
        assert at.count(QUEUED) == 1
        at.report(first, degraded_reason=None)
        await wait_until(lambda: len(second.packs) == 2)


async def test_no_cell_is_claimed_while_the_queue_cannot_be_written(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        await at.database.write(read_only(True))
        await wait_until(lambda: at.scheduler.degraded_reason)
        assert "readonly database" in str(at.scheduler.degraded_reason)
        await at.looks()
        assert at.states() == [QUEUED]
        await at.database.write(read_only(False))
        await at.worker()
        assert at.scheduler.degraded_reason is None


async def test_nothing_is_planned_while_ray_does_not_answer(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        at.pool.ray_failure = "the head is away"
        await at.submit(*cells(1))
        await wait_until(lambda: at.scheduler.degraded_reason)
        assert at.scheduler.degraded_reason == "Ray does not answer: the head is away"
        await at.looks()
        assert at.pool.started == []
        at.pool.ray_failure = None
        await at.worker()
        assert at.scheduler.degraded_reason is None


async def test_no_cell_is_claimed_while_too_many_results_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 0)
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(2))
        worker = await at.worker()
        async with at.slow_store():
            at.finish(worker)
            await wait_until(lambda: worker.state is WorkerState.IDLE)
            await at.looks()
            assert (at.results.pending, at.count(QUEUED)) == (1, 1)
            assert at.scheduler.degraded_reason is None
        await wait_until(lambda: len(worker.packs) == 2)


# --- requeues ---


async def test_a_requeue_goes_on_where_its_caller_is_cancelled(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        await at.database.write(read_only(True))
        worker.die()
        await wait_until(lambda: at.database.degraded_reason)  # the requeue is under way
        assert worker.task is not None
        worker.task.cancel()
        await wait_until(worker.task.done)
        assert at.states() == [RUNNING]
        await at.database.write(read_only(False))
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.DIED


async def test_checkpoints_are_recorded_before_a_requeue_so_that_the_newest_is_resumed_from(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, recorder=False, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await running(at)
        at.report(worker, steps={attempt.id: 3}, saved={attempt.id: 3})
        at.report(worker, steps={attempt.id: 5}, saved={attempt.id: 5})
        worker.die()
        await wait_until(lambda: len(at.pool.started) == 2)
        _, again = await running(at)
        assert again.resume_from == Checkpoint(attempt.id, 5)


# --- stopping ---


async def test_stopping_interrupts_running_cells_with_their_checkpoints(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=2) as at:
        await at.submit(*cells(3))
        first, second = await at.workers(2)
        stopping = asyncio.create_task(at.scheduler.stop())
        await wait_until(lambda: first.asked_to_stop and second.asked_to_stop)
        [attempt] = first.attempts
        at.report(first, steps={attempt.id: 4}, saved={attempt.id: 4})
        first.return_pack()
        second.die()  # its process may end before it answers
        await asyncio.wait_for(stopping, 60)
        assert at.states() == [QUEUED] * 3
        assert at.checkpoint_of(attempt.cell.key) == Checkpoint(attempt.id, 4)
        for worker in (first, second):
            [attempt] = worker.attempts
            end = at.end_of(attempt)
            assert end is not None
            assert (end.reason, end.counts) == (ExitReason.INTERRUPTED, False)
            assert worker.killed
        assert at.pool.workers == {}


async def test_stopping_takes_the_results_that_are_reported_meanwhile(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker = await at.worker()
        stopping = asyncio.create_task(at.scheduler.stop())
        await wait_until(lambda: worker.asked_to_stop)
        at.finish(worker)
        await asyncio.wait_for(stopping, 60)
        await wait_until(at.ended)
        assert at.states() == [SUCCEEDED]


async def test_stopping_waits_for_no_worker_that_has_not_started_and_for_none_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    async with scheduler(tmp_path, workers=2) as at:
        await at.submit(*cells(1))
        deaf, attempt = await running(at)
        at.pool.starting = False
        await at.submit(*cells(1, first=1), job_id="k")
        await wait_until(lambda: len(at.pool.started) == 2)
        pending = at.pool.started[1]
        await asyncio.wait_for(at.scheduler.stop(), 60)
        assert deaf.asked_to_stop
        assert deaf.killed
        assert pending.killed
        assert not pending.asked_to_stop
        end = at.end_of(attempt)
        assert end is not None
        assert (end.reason, end.message) == (ExitReason.INTERRUPTED, "it did not stop in time")
