"""Watchdog: cells that hang while their workers send heartbeats, and workers that never start."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from support.queues import cells, pack
from support.result_writers import wait_until
from support.schedulers import SchedulerUnderTest, scheduler
from support.workers import FakeWorker

from stn_cluster.cluster import watchdog as module
from stn_cluster.cluster.placement import WorkerState
from stn_cluster.cluster.protocol import Report, Stall
from stn_cluster.queue.attempts import Attempt, AttemptEnd, ExitReason
from stn_cluster.queue.jobs import CellState

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("short_waits")]

LONG = 10_000.0  # seconds without progress


def hang(at: SchedulerUnderTest, worker: FakeWorker, *hanging: Attempt) -> None:
    """Makes a worker report that these cells' code has made no progress for long."""
    stall = Stall(LONG, "builds its model", tuple(attempt.cell.key for attempt in hanging))
    at.report(worker, steps={attempt.id: 0 for attempt in worker.attempts}, stall=stall)


async def end_of(at: SchedulerUnderTest, attempt: Attempt) -> AttemptEnd:
    await wait_until(lambda: at.end_of(attempt))
    end = at.end_of(attempt)
    assert end is not None
    return end


# --- hanging cells ---


async def test_a_cell_that_hangs_is_charged_and_its_pack_mates_go_on_elsewhere(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=3) as at:
        await at.submit(*pack(3))
        worker = await at.worker()
        mate, hanging, other = worker.attempts
        at.report(worker, steps={mate.id: 5, hanging.id: 5}, saved={mate.id: 5})
        hang(at, worker, hanging)
        end = await end_of(at, hanging)
        assert (end.reason, end.counts) == (ExitReason.HUNG, True)
        assert end.message == "no progress for 30 min while it builds its model"
        assert worker.killed
        for attempt in (mate, other):
            end = await end_of(at, attempt)
            assert (end.reason, end.counts) == (ExitReason.INTERRUPTED, False)
        log = await at.housekeeping.read_log(hanging.cell.key, hanging.id)
        assert "hung: no progress for 30 min while it builds its model" in str(log)
        again = await at.worker()
        assert again is not worker
        assert len(again.attempts) == 3  # nobody is isolated: it is known who hung


async def test_a_cell_that_hangs_again_and_again_is_failed(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2) as at:
        first, mate = pack(2)
        await at.submit(first, mate)
        for _ in range(3):
            worker = await at.worker()
            [hanging] = [a for a in worker.attempts if a.cell.key == first.key]
            hang(at, worker, hanging)
            await end_of(at, hanging)
            await wait_until(lambda worker=worker: worker.killed)  # type: ignore[misc]
        await wait_until(lambda: at.committed)
        [row] = at.store.results(latest=False).to_dict("records")
        assert (row["key"], row["status"]) == (first.key, "failed")
        assert row["error"].count("hung: no progress for 30 min while it builds its model") == 3
        assert not any(a.end.counts for a in at.history(mate.key) if a.end)


async def test_cells_that_share_the_code_that_hangs_go_on_one_by_one(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        attempts = worker.attempts
        hang(at, worker, *attempts)
        ends = [await end_of(at, attempt) for attempt in attempts]
        assert [(end.reason, end.counts) for end in ends] == [(ExitReason.HUNG, False)] * 2
        await wait_until(lambda: at.pool.busy and at.pool.busy[0] is not worker)
        again, attempt = await at.one_running()
        hang(at, again, attempt)
        end = await end_of(at, attempt)
        assert (end.reason, end.counts) == (ExitReason.HUNG, True)  # it was alone


async def test_progress_in_time_ends_nobody(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, no_progress_seconds=0.5) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        for step in range(8):
            at.report(worker, steps={attempt.id: step}, stall=Stall(0.1, "is tested", ()))
            await asyncio.sleep(0.1)
            at.report(worker, steps={attempt.id: step + 1})
        await at.scans()
        assert not worker.killed


async def test_a_configs_limit_goes_before_the_settings(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        [cell] = cells(1)
        await at.submit(cell.model_copy(update={"no_progress_seconds": 2 * LONG}))
        worker, attempt = await at.one_running()
        hang(at, worker, attempt)
        await at.scans()
        assert not worker.killed
        [line] = at.scheduler.watchdog.lines({cell.key}, asyncio.get_running_loop().time())
        assert line.endswith("its worker is ended after 20000 s without any")


async def test_who_hangs_is_told_until_it_makes_progress_and_to_its_own_job_alone(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cells_per_pack=2) as at:
        await at.submit(*pack(2))
        worker = await at.worker()
        hanging, mate = worker.attempts
        now = asyncio.get_running_loop().time
        watchdog = at.scheduler.watchdog
        keys = {hanging.cell.key}
        assert not watchdog.has_lines
        for seconds, told in ((2.0, 0), (179.0, 0), (181.0, 1)):
            stall = Stall(seconds, "builds its model", (hanging.cell.key,))
            at.report(worker, steps={hanging.id: 0, mate.id: 0}, stall=stall)
            assert watchdog.has_lines
            assert len(watchdog.lines(keys, now())) == told
        [line] = watchdog.lines(keys, now())
        assert f"{hanging.cell.label}: it builds its model, on here, process 123" in line
        assert watchdog.lines({mate.cell.key}, now()) == (line,)  # it waits, too
        assert watchdog.lines({"another job's"}, now()) == ()
        at.report(worker, steps={hanging.id: 1, mate.id: 1})
        assert watchdog.lines(keys, now()) == ()


async def test_a_cancelled_cell_that_hangs_while_it_is_loaded_frees_its_worker(
    tmp_path: Path,
) -> None:
    async with scheduler(tmp_path, workers=1, cancel_grace_seconds=0.1) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        await at.cancel("j")
        while not worker.killed:
            lost = at.report(worker, steps={attempt.id: 0})  # as a worker says from the start
            assert lost == {attempt.id}
            await asyncio.sleep(0.01)
        assert at.reasons(attempt.cell.key) == [ExitReason.CANCELLED]


# --- stopping ---


async def test_stopping_waits_for_progress_and_not_for_a_cell_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_GRACE_SECONDS", 0.3)
    async with scheduler(tmp_path, workers=2) as at:
        await at.submit(*cells(2))
        hangs, works = await at.workers(2)
        at.report(hangs, stall=Stall(20.0, "builds its model", ()))
        stopping = asyncio.create_task(at.scheduler.stop())
        await wait_until(lambda: hangs.asked_to_stop and works.asked_to_stop)
        [attempt] = works.attempts
        while not hangs.killed:
            at.report(works, steps={attempt.id: 1})
            await asyncio.sleep(0.01)
        assert not works.killed
        at.report(works, steps={attempt.id: 4}, saved={attempt.id: 4})
        works.return_pack()
        await asyncio.wait_for(stopping, 60)
        [hung] = hangs.attempts
        end = await end_of(at, hung)
        assert (end.reason, end.message) == (ExitReason.INTERRUPTED, "it did not stop in time")
        assert not end.counts
        assert at.states() == [CellState.QUEUED] * 2


async def test_stopping_does_not_wait_for_a_state_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stn_cluster.cluster import scheduler as scheduler_module

    monkeypatch.setattr(scheduler_module, "FLUSH_SECONDS", 0.3)
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        worker, attempt = await at.one_running()
        await at.read_only(True)
        stopping = asyncio.create_task(at.scheduler.stop())
        await wait_until(lambda: worker.asked_to_stop)
        at.report(worker, steps={attempt.id: 4})
        worker.return_pack()
        await asyncio.wait_for(stopping, 10)
        assert at.pool.workers == {}
        assert at.states() == [CellState.RUNNING]  # the next coordinator queues it again
        await at.read_only(False)


# --- workers that do not start ---


async def test_a_worker_that_hangs_while_it_starts_is_given_up(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, no_progress_seconds=0.2) as at:
        at.pool.starting = False
        await at.submit(*cells(1))
        await wait_until(lambda: at.pool.started)
        [worker] = at.pool.started
        at.reports.handle(worker.name, Report())  # its process runs
        await wait_until(lambda: worker.killed)
        assert at.pool.start_failure == (
            "no worker starts (1 in a row): its process runs, but is not ready after 0.2 s"
        )


async def test_a_worker_without_a_process_yet_is_waited_for(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1, no_progress_seconds=0.05) as at:
        at.pool.starting = False
        await at.submit(*cells(1))
        await wait_until(lambda: at.pool.started)
        [worker] = at.pool.started
        await asyncio.sleep(0.2)
        await at.scans()
        assert worker.state is WorkerState.STARTING
        assert not worker.killed


async def test_what_queued_cells_wait_for_is_in_the_log_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from stn_cluster.grid import Needs

    with caplog.at_level(logging.WARNING):
        async with scheduler(tmp_path) as at:
            [cell] = cells(1)
            await at.submit(cell.model_copy(update={"needs": Needs(num_gpus=2)}))
            await at.looks(5)
    told = [record.message for record in caplog.records if "waits for" in record.message]
    assert told == ["1 cell waits for a node with 2 GPU"]


# --- nodes out of reach ---


@pytest.fixture
def closed_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port: int = closed_soon.getsockname()[1]
    return port


@pytest.fixture
def soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is silent at once."""
    monkeypatch.setattr(module, "LEAST_SILENCE", 0.1)


async def running_at(at: SchedulerUnderTest, port: int) -> tuple[FakeWorker, Attempt]:
    """A cell that runs on a node with an address, where something listens or not."""
    (node,) = at.pool.nodes
    at.pool.nodes = [replace(node, address="127.0.0.1", port=port)]
    await at.submit(*cells(1))
    return await at.one_running()


@pytest.mark.usefixtures("soon_silent")
async def test_a_node_out_of_reach_is_told_at_once_and_not_held_against_its_cells(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=2.0) as at:
        _, attempt = await running_at(at, closed_port)
        watchdog, now = at.scheduler.watchdog, asyncio.get_running_loop().time
        await wait_until(lambda: watchdog.lines({attempt.cell.key}, now()))
        [line] = watchdog.lines({attempt.cell.key}, now())
        assert line.startswith("here cannot be reached for ")
        assert "1 cell" in line
        assert "not charged, after 2 s" in line
        assert watchdog.lines({"another job's"}, now()) == ()
        end = await end_of(at, attempt)
        assert (end.reason, end.counts) == (ExitReason.NODE_LOST, False)
        assert "its node could not be reached" in str(end.message)


@pytest.mark.usefixtures("soon_silent")
async def test_a_worker_that_is_still_silent_when_its_node_is_back_is_not_charged(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=2.0) as at:
        _, attempt = await running_at(at, closed_port)
        watchdog = at.scheduler.watchdog
        await wait_until(lambda: watchdog.has_lines)
        with socket.create_server(("127.0.0.1", closed_port)):
            await wait_until(lambda: not watchdog.has_lines)
            end = await end_of(at, attempt)  # what it sends arrives after its lease
        assert (end.reason, end.counts) == (ExitReason.NODE_LOST, False)


@pytest.mark.usefixtures("soon_silent")
async def test_a_worker_that_ends_itself_as_it_was_cut_off_is_not_charged(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=60.0) as at:
        worker, attempt = await running_at(at, closed_port)
        await wait_until(lambda: at.scheduler.watchdog.has_lines)
        worker.die()
        end = await end_of(at, attempt)
        assert (end.reason, end.counts) == (ExitReason.NODE_LOST, False)


@pytest.mark.usefixtures("soon_silent")
async def test_a_worker_that_was_heard_of_again_and_is_silent_once_more_is_charged(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=2.0) as at:
        worker, attempt = await running_at(at, closed_port)
        watchdog = at.scheduler.watchdog
        await wait_until(lambda: watchdog.has_lines)
        with socket.create_server(("127.0.0.1", closed_port)):
            at.report(worker, steps={attempt.id: 3})
            await wait_until(lambda: not watchdog.has_lines)
            end = await end_of(at, attempt)
        assert (end.reason, end.counts) == (ExitReason.EXPIRED, True)


@pytest.mark.usefixtures("soon_silent")
async def test_a_node_out_of_reach_is_told_while_its_cells_wait_for_another(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=1.0) as at:
        _, attempt = await running_at(at, closed_port)
        await end_of(at, attempt)
        watchdog, now = at.scheduler.watchdog, asyncio.get_running_loop().time
        await wait_until(lambda: watchdog.lines((), now()))
        [line] = watchdog.lines((), now())
        assert line.startswith("the node 127.0.0.1 cannot be reached for ")
        (node,) = at.pool.nodes
        at.pool.nodes = [replace(node, alive=False)]  # Ray has given it up
        await wait_until(lambda: not watchdog.has_lines)


@pytest.mark.usefixtures("soon_silent")
async def test_a_silent_worker_on_a_node_within_reach_is_held_against_its_cell(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with scheduler(tmp_path, workers=1, lease_seconds=1.0) as at:
            _, attempt = await running_at(at, listening.getsockname()[1])
            end = await end_of(at, attempt)
            assert (end.reason, end.counts) == (ExitReason.EXPIRED, True)
            assert not at.scheduler.watchdog.has_lines


@pytest.mark.usefixtures("soon_silent")
async def test_a_node_that_comes_back_in_time_is_told_no_more(
    tmp_path: Path, closed_port: int
) -> None:
    async with scheduler(tmp_path, workers=1, lease_seconds=60.0) as at:
        worker, attempt = await running_at(at, closed_port)
        watchdog = at.scheduler.watchdog
        await wait_until(lambda: watchdog.has_lines)
        with socket.create_server(("127.0.0.1", closed_port)):
            await wait_until(lambda: not watchdog.has_lines)
        at.report(worker, steps={attempt.id: 3})
        await at.scans()
        assert at.end_of(attempt) is None
