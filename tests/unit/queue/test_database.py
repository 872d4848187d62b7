"""The queue's database off the event loop: durable writes, reads beside them, mistakes."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
from support.queues import HERE, QueueUnderTest, cells, job_ids, opened

from stn_cluster.errors import ConflictError, NotFoundError, StoreError
from stn_cluster.grid import Needs
from stn_cluster.queue.claim import claim
from stn_cluster.queue.database import FILE, QueueDatabase
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.queries import job_status, jobs
from stn_cluster.queue.submission import Submission
from stn_cluster.queue.submit import cancel, submit

pytestmark = pytest.mark.anyio

JOB = Job("a", cells(3))
KNOWN = KnownResults()
PATIENCE = 60.0  # seconds; a test that waits in vain fails


def first(_: object) -> int:
    return 1


def after_a_power_cut(folder: Path, copy: Path) -> list[str]:
    """Ids of the jobs in what has reached the files so far."""
    copy.mkdir()
    for file in (FILE, f"{FILE}-wal"):
        shutil.copy(folder / file, copy)
    queue = QueueUnderTest(copy)
    try:
        return [status.job_id for status in jobs(queue.db)]
    finally:
        queue.close()


# --- writes and reads ---


async def test_a_write_returns_the_changes_value_and_is_durable(tmp_path: Path) -> None:
    async with opened(tmp_path / "state", JOB) as database:
        assert await database.write(submit, Submission.of(Job("b", cells(2))), KNOWN) is True
        assert after_a_power_cut(tmp_path / "state", tmp_path / "copy") == ["a", "b"]
        assert await database.write(submit, Submission.of(Job("b", cells(2))), KNOWN) is False
        pack = await database.write(claim, Needs(), first, worker=HERE, only="b")
        assert [attempt.cell for attempt in pack] == [cells(1)[0]]


async def test_a_read_sees_every_write_before_it_and_can_change_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, JOB) as database:
        for number in range(20):
            await database.write(submit, Submission.of(Job(f"job-{number}", cells(1))), KNOWN)
            assert len(await job_ids(database)) == number + 2
        with pytest.raises(StoreError, match=r"queue\.sqlite: cannot be read: .*readonly"):
            await database.read(cancel, "a")
        status, _ = await database.read(job_status, "a")
        assert status.counts == {CellState.QUEUED: 3}
        assert database.degraded_reason is None


async def test_reads_run_beside_a_long_write_and_see_what_was_before_it(tmp_path: Path) -> None:
    began, may_end = threading.Event(), threading.Event()

    def long_change(db: sqlite3.Connection) -> str:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM jobs")
        began.set()
        assert may_end.wait(PATIENCE)
        db.execute("COMMIT")
        return "done"

    async with opened(tmp_path, JOB) as database, asyncio.timeout(PATIENCE):
        write = asyncio.create_task(database.write(long_change))
        await asyncio.to_thread(began.wait)
        assert await job_ids(database) == ["a"]
        assert not write.done()
        may_end.set()
        assert await write == "done"
        assert await job_ids(database) == []


async def test_writes_are_made_one_after_the_other_in_their_order(tmp_path: Path) -> None:
    seen: list[int] = []

    def change(_: sqlite3.Connection, number: int) -> int:
        seen.append(number)
        return number

    async with opened(tmp_path, JOB) as database:
        done = await asyncio.gather(*(database.write(change, number) for number in range(50)))
        assert done == seen == list(range(50))


@pytest.mark.parametrize("busy", [False, True])
async def test_closing_ends_both_threads_after_what_they_are_at(tmp_path: Path, busy: bool) -> None:
    began, may_end = threading.Event(), threading.Event()

    def long_change(db: sqlite3.Connection) -> None:
        began.set()
        assert may_end.wait(PATIENCE)
        submit(db, Submission.of(Job("b", cells(1))), KNOWN)

    database = QueueDatabase(tmp_path / "state")
    await database.write(submit, Submission.of(JOB), KNOWN)
    await database.read(jobs)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("queue-")]
    assert sorted(thread.name[:12] for thread in threads) == ["queue-reader", "queue-writer"]
    write = asyncio.create_task(database.write(long_change if busy else jobs))
    if busy:
        await asyncio.to_thread(began.wait)
    closed = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(write, closed)
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()
    assert not (tmp_path / "state" / f"{FILE}-wal").exists()  # the last connection removes it
    queue = QueueUnderTest(tmp_path / "state")
    assert [status.job_id for status in jobs(queue.db)] == (["a", "b"] if busy else ["a"])
    queue.close()


# --- mistakes ---


def breaks_a_rule(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO jobs (job_id) VALUES (NULL)")


def misuses_sqlite(db: sqlite3.Connection) -> None:
    db.execute("SELECT ?", (1, 2))


@pytest.mark.parametrize(
    ("mistake", "error"),
    [(breaks_a_rule, sqlite3.IntegrityError), (misuses_sqlite, sqlite3.ProgrammingError)],
)
async def test_a_mistake_in_a_change_is_raised_at_once_and_is_no_fault_of_the_disk(
    tmp_path: Path, mistake: object, error: type[Exception]
) -> None:
    calls = 0

    def change(db: sqlite3.Connection) -> None:
        nonlocal calls
        calls += 1
        mistake(db)  # type: ignore[operator]

    async with opened(tmp_path, JOB) as database:
        for write in (database.write, database.write_until_done):
            with pytest.raises(error):
                await write(change)
        assert calls == 2  # once each: nothing is retried
        assert database.degraded_reason is None
        assert await job_ids(database) == ["a"]


async def test_a_refusal_is_raised_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path, JOB) as database:
        with pytest.raises(ConflictError):
            await database.write_until_done(submit, Submission.of(Job("a", cells(1))), KNOWN)
        with pytest.raises(NotFoundError):
            await database.write_until_done(cancel, "b")
        assert database.degraded_reason is None
