"""Scheduler: what happens at one moment with something else costs no cell anything."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from support.coordinators import LocalCoordinator
from support.queues import cells
from support.result_writers import wait_until
from support.schedulers import scheduler
from support.workers import BIG, make_nodes

from stn_cluster import UserError
from stn_cluster.cluster import coordinator as coordinator_module
from stn_cluster.cluster import scheduler as scheduler_module
from stn_cluster.cluster import worker_pool as pool_module
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue import database as database_module
from stn_cluster.queue.database import FILE
from stn_cluster.queue.finish import requeue
from stn_cluster.queue.submit import cancel

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.05)


async def test_a_claim_of_a_worker_that_is_given_up_goes_back_to_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two leases are over at one scan; while the first is requeued, the other's result comes."""
    monkeypatch.setattr(Settings, "scan_seconds", 0.1)
    async with scheduler(tmp_path, workers=2, lease_seconds=1000) as at:
        await at.submit(*cells(3))
        workers = await at.workers(2)
        write, finished = at.database.write, []

        async def write_while_a_result_comes(change: Any, *args: Any, **kwargs: Any) -> Any:
            if change is requeue and not finished:
                [other] = [worker for worker in workers if not worker.killed]
                finished.append(other)
                at.finish(other)
            return await write(change, *args, **kwargs)

        monkeypatch.setattr(at.database, "write", write_while_a_result_comes)
        for worker in workers:
            for lease in at.leases.of(worker.name):
                lease.deadline = 0.0
        await wait_until(lambda: bool(finished))

        def all_done() -> bool:
            for worker in at.pool.started:
                if worker.busy and worker.name in at.pool.workers:
                    at.finish(worker)
            return at.ended()

        await wait_until(all_done)


async def test_a_claim_that_is_cancelled_after_its_commit_goes_back_to_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        write, claimed = at.database.write, asyncio.Event()

        async def write_slowly(change: Any, *args: Any, **kwargs: Any) -> Any:
            done = await write(change, *args, **kwargs)
            if change.__name__ == "claim" and done and not claimed.is_set():
                claimed.set()
                await asyncio.sleep(0.2)
            return done

        monkeypatch.setattr(at.database, "write", write_slowly)
        await at.submit(*cells(1))
        await claimed.wait()
        [worker] = at.pool.started
        worker.task.cancel()

        def others() -> list[Any]:
            return [w for w in at.pool.started if w is not worker and w.busy]

        await wait_until(lambda: bool(others()))
        at.finish(others()[0])
        await wait_until(at.ended)
        [first, second] = at.history(cells(1)[0].key)
        assert [str(a.end.reason) for a in (first, second) if a.end] == ["interrupted", "succeeded"]
        assert first.end is not None
        assert not first.end.counts


async def test_a_worker_whose_connection_broke_gets_no_second_pack(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        one, two = cells(2)
        await at.submit(one, job_id="a")
        worker = await at.worker()
        await at.submit(two, job_id="b")
        worker.disconnect()
        worker.reconnect()
        at.scheduler.cancel(await at.database.write(cancel, "a"))
        await wait_until(lambda: worker.killed)
        assert len(worker.packs) == 1


async def test_no_worker_is_started_once_the_service_stops(tmp_path: Path) -> None:
    async with scheduler(tmp_path, workers=1) as at:
        refresh, inside, go_on = at.pool.refresh_nodes, asyncio.Event(), asyncio.Event()

        async def refresh_slowly() -> None:
            await refresh()
            inside.set()
            await go_on.wait()

        at.pool.refresh_nodes = refresh_slowly
        await inside.wait()
        await at.submit(*cells(1))
        stopping = asyncio.create_task(at.scheduler.stop())
        await asyncio.sleep(0.05)
        go_on.set()
        await stopping
        assert at.pool.started == []


async def test_a_kind_that_cannot_start_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FAILED_START_PAUSE", 0.5)
    async with scheduler(tmp_path, workers=1, idle_seconds=1000) as at:
        at.pool.nodes = make_nodes({"CPU": 4, "big": 1})
        start = at.pool.start

        def start_unless_big(needs: Any, now: float) -> Any:
            worker = start(needs, now)
            if needs == BIG:
                worker.die("cannot start")
            return worker

        at.pool.start = start_unless_big
        one, two = cells(2)
        await at.submit(one.model_copy(update={"needs": BIG}), job_id="big")
        await at.submit(two, job_id="plain")
        await wait_until(lambda: any(worker.packs for worker in at.pool.started))


async def test_a_restarted_coordinator_that_cannot_open_its_queue_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[object] = []
    monkeypatch.setattr(coordinator_module, "END_SECONDS", 0.05)
    monkeypatch.setattr(coordinator_module.ray, "kill", killed.append)
    first = LocalCoordinator(tmp_path)
    await first.opened()
    await first.stop()
    await wait_until(lambda: bool(killed))
    killed.clear()
    for file in (tmp_path / "state").glob(f"{FILE}*"):
        file.write_bytes(b"not a database at all" * 100)
    again = LocalCoordinator(tmp_path, restarted=True)
    with pytest.raises(UserError, match="damaged"):
        await again.opened()
    await wait_until(lambda: bool(killed))


async def test_a_wrong_statement_is_no_full_disk(tmp_path: Path) -> None:
    def wrong(db: sqlite3.Connection) -> None:
        db.execute("SELECT nonsense FROM nowhere")

    async with scheduler(tmp_path) as at:
        for call in (at.database.write_until_done, at.database.write, at.database.read):
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await asyncio.wait_for(call(wrong), 5.0)
        assert at.database.degraded_reason is None


async def test_a_job_that_is_cancelled_right_after_its_claim_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the event loop is busy, the answers of both changes of the queue come together."""
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(*cells(1))
        worker = await at.worker()
        at.finish(worker)
        await wait_until(at.ended)
        write, loop = at.database.write, asyncio.get_running_loop()
        cancelling: list[asyncio.Future[None]] = []

        async def cancel_it() -> None:
            at.scheduler.cancel(await write(cancel, "second"))

        def begin() -> None:
            cancelling.append(asyncio.ensure_future(cancel_it()))
            loop.call_soon(lambda: loop.call_soon(time.sleep, 0.05))

        async def write_and_cancel(change: Any, *args: Any, **kwargs: Any) -> Any:
            if change.__name__ == "claim" and not cancelling:
                loop.call_soon(begin)
            return await write(change, *args, **kwargs)

        monkeypatch.setattr(at.database, "write", write_and_cancel)
        await at.submit(*cells(1, first=5), job_id="second")
        await wait_until(lambda: bool(cancelling) and cancelling[0].done())
        await asyncio.sleep(0.2)
        assert not at.leases.of(worker.name)
        assert not worker.busy
        await at.submit(*cells(1, first=7), job_id="third")  # the worker takes the next
        await wait_until(lambda: worker.busy)
