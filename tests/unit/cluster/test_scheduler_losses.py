"""Scheduler: the cells of workers that die, are silent, or do not stop. Without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.queues import cells, pack
from support.result_writers import make_outcome, wait_until
from support.schedulers import scheduler

from stn_cluster.cluster.placement import Node, WorkerState
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.jobs import CellState

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("short_waits")]


# --- workers that are lost ---


async def test_the_cell_of_a_worker_that_died_is_queued_again_for_another(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        worker.die("killed by the kernel")
        await wait_until(lambda: len(at.pool.started) == 2)
        other, again = await at.one_running()
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


async def test_what_a_worker_printed_last_is_in_the_logs_before_its_death(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        one, other = worker.attempts
        at.pool.output[worker.name] = {"shared": b"of both\n", one.id: b"of one\nno end"}
        worker.die("killed by the kernel")
        await wait_until(lambda: len(at.pool.started) == 2)
        for attempt, printed in ((one, ["of both", "of one", "no end"]), (other, ["of both"])):
            log = await at.housekeeping.read_log(attempt.cell.key, attempt.id)
            lines = [line.partition(" ")[2] for line in (log or "").splitlines()]
            assert lines[1:] == [*printed, "died: killed by the kernel"]


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
        _, again = await at.one_running()
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
        worker, attempt = await at.one_running()
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
        worker, attempt = await at.one_running()
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
            worker, attempt = await at.one_running()
            worker.die(f"reason {number}")
            await wait_until(lambda attempt=attempt: at.end_of(attempt))  # type: ignore[misc]
        await wait_until(at.ended)
        await at.looks()
        [row] = at.store.results(latest=False).to_dict("records")
        assert (row["attempt"], row["status"]) == (attempt.id, "failed")
        assert row["error"] == (
            "given up after these ends:\n1. died: reason 0\n2. died: reason 1\n3. died: reason 2"
        )
        assert at.states() == [CellState.FAILED]


async def test_a_failure_that_waits_for_the_store_is_not_given_to_it_again(tmp_path: Path) -> None:
    async with scheduler(tmp_path) as at:
        await at.submit(*cells(1))
        async with at.slow_store():
            for _ in range(3):
                worker, attempt = await at.one_running()
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
        worker, attempt = await at.one_running()
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
        _, attempt = await at.one_running()
        at.pool.nodes = [Node("0", alive=False, resources={}), Node("1", True, {"CPU": 4.0})]
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.NODE_LOST


async def test_a_worker_that_does_not_come_back_after_its_results_is_replaced(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, lease_seconds=0.2, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        at.report(worker, ended={attempt.id: make_outcome(attempt)})
        await wait_until(lambda: worker.killed)
        await wait_until(at.ended)
        assert at.reasons(attempt.cell.key) == [ExitReason.SUCCEEDED]


async def test_a_worker_whose_connection_breaks_ends_its_pack_and_is_replaced(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(2))
        worker, attempt = await at.one_running()
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
        worker, attempt = await at.one_running()
        worker.disconnect()
        await at.scans()
        worker.die("its node has died", node_lost=True)
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.NODE_LOST


# --- cancelled cells ---


async def test_a_cancelled_cell_that_does_not_stop_costs_its_worker_after_the_grace(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2, cancel_grace_seconds=0.1) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        stuck, mate = worker.attempts
        await at.submit(mate.cell, job_id="k")
        await at.cancel("j")
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
        await at.cancel("j")
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
        worker, attempt = await at.one_running()
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


# --- requeues ---


async def test_a_requeue_goes_on_where_its_caller_is_cancelled(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        await at.read_only(True)
        worker.die()
        await wait_until(lambda: at.database.degraded_reason)  # the requeue is under way
        assert worker.task is not None
        worker.task.cancel()
        await wait_until(worker.task.done)
        assert at.states() == [CellState.RUNNING]
        await at.read_only(False)
        await wait_until(lambda: at.end_of(attempt))
        assert at.reasons(attempt.cell.key)[0] is ExitReason.DIED


async def test_checkpoints_are_recorded_before_a_requeue_so_that_the_newest_is_resumed_from(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, recorder=False, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        at.report(worker, steps={attempt.id: 3}, saved={attempt.id: 3})
        at.report(worker, steps={attempt.id: 5}, saved={attempt.id: 5})
        worker.die()
        await wait_until(lambda: len(at.pool.started) == 2)
        _, again = await at.one_running()
        assert again.resume_from == Checkpoint(attempt.id, 5)
