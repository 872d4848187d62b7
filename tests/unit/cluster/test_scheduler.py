"""Scheduler: packs for workers, while all goes well and while it does not. Without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.queues import cells, pack
from support.records import make_cell
from support.result_writers import make_outcome, wait_until
from support.schedulers import SchedulerUnderTest, scheduler
from support.workers import TWO_CORES, make_nodes

from stn_cluster.cluster import scheduler as module
from stn_cluster.cluster import worker_pool as worker_pool_module
from stn_cluster.cluster.placement import SMALL_CPU_PACK, WorkerState, fair_share
from stn_cluster.cluster.protocol import Report
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.submit import cancel

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("short_waits")]

QUEUED, RUNNING, SUCCEEDED = CellState.QUEUED, CellState.RUNNING, CellState.SUCCEEDED


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


async def test_results_that_come_back_with_their_pack_are_taken(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        worker.return_pack(Report(ended={attempt.id: make_outcome(attempt)}))
        await wait_until(lambda: at.committed)
        assert at.states() == [SUCCEEDED]


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
        worker, attempt = await at.one_running()
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


# --- troubles ---


async def test_no_cell_is_claimed_while_the_store_is_away(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(2))
        worker, attempt = await at.one_running()
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
        await at.read_only(True)
        await wait_until(lambda: at.scheduler.degraded_reason)
        assert "readonly database" in str(at.scheduler.degraded_reason)
        await at.looks()
        assert at.states() == [QUEUED]
        await at.read_only(False)
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
        deaf, attempt = await at.one_running()
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
