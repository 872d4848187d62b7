"""The queue's database on a full disk: what is refused, what is told, and when it ends."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.queues import cells, full_disk, job_ids, opened
from support.small_disks import fill, small_disk

from stn_cluster.errors import StoreError
from stn_cluster.queue.database import FILE
from stn_cluster.queue.jobs import Job
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.submission import Submission
from stn_cluster.queue.submit import mark_recorded, submit

pytestmark = pytest.mark.anyio

JOB = Job("a", cells(3))
KNOWN = KnownResults()
PATIENCE = 60.0  # seconds; a test that waits in vain fails


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


FULL = r"queue\.sqlite: cannot be written, nothing was changed: (disk I/O error|.* disk is full)"


async def test_a_full_disk_is_told_until_a_write_has_succeeded_whatever_is_read_meanwhile(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, JOB) as database:
        await database.write(mark_recorded, "a")
        with full_disk(tmp_path):
            for _ in range(3):
                with pytest.raises(StoreError, match=FULL) as caught:
                    await database.write(submit, Submission.of(Job("b", cells(2))), KNOWN)
                reason = database.degraded_reason
                assert reason == str(caught.value)
                assert await job_ids(database) == ["a"]  # nothing was changed, and it can be read
                await database.probe()
                assert database.degraded_reason == reason
                # What finds nothing to write succeeds, and says nothing of the disk.
                assert await database.write(submit, Submission.of(JOB), KNOWN) is False
                await database.write(mark_recorded, "a")  # the row is written, as it was
                assert database.degraded_reason == reason
        assert await job_ids(database) == ["a"]
        assert database.degraded_reason == reason  # there is room, but nothing was written yet
        assert await database.write(submit, Submission.of(Job("b", cells(2))), KNOWN)
        assert database.degraded_reason is None


async def test_a_probe_ends_it_once_the_disk_has_room_and_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, JOB) as database:
        before = await database.read(lambda db: list(db.iterdump()))
        with full_disk(tmp_path), pytest.raises(StoreError):
            await database.write(mark_recorded, "a")
        await database.probe()
        assert database.degraded_reason is None
        assert await database.read(lambda db: list(db.iterdump())) == before


async def test_a_probe_of_a_healthy_disk_writes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, JOB) as database:
        before = (tmp_path / f"{FILE}-wal").read_bytes()
        await database.probe()
        assert (tmp_path / f"{FILE}-wal").read_bytes() == before


async def test_write_until_done_returns_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stn_cluster.queue.database.RETRY_SECONDS", 0.001)
    tries = 0

    def change(db: sqlite3.Connection) -> bool:
        nonlocal tries
        tries += 1
        return submit(db, Submission.of(Job("b", cells(2))), KNOWN)

    async with opened(tmp_path, JOB) as database, asyncio.timeout(PATIENCE):
        with full_disk(tmp_path):
            write = asyncio.create_task(database.write_until_done(change))
            while tries < 3:
                await asyncio.sleep(0)
            assert not write.done()
            assert database.degraded_reason is not None
            assert await job_ids(database) == ["a"]
        assert await write is True
        assert database.degraded_reason is None
        assert await job_ids(database) == ["a", "b"]


async def test_a_disk_that_is_really_full_is_told_and_all_goes_on_with_room_again(
    disk: Path,
) -> None:
    folder = disk / "state"
    async with opened(folder, JOB) as database:
        filler = fill(disk)
        with pytest.raises(StoreError, match=FULL):
            await database.write(submit, Submission.of(Job("b", cells(50))), KNOWN)
        assert str(folder / FILE) in str(database.degraded_reason)
        assert await job_ids(database) == ["a"]
        filler.unlink()
        await database.probe()
        assert database.degraded_reason is None
        assert await database.write(submit, Submission.of(Job("b", cells(50))), KNOWN)
        assert await job_ids(database) == ["a", "b"]


async def test_only_the_first_of_a_row_of_failures_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, JOB) as database:
        for number in range(2):
            job = Job(f"job-{number}", cells(1))
            with full_disk(tmp_path):
                for _ in range(3):
                    with pytest.raises(StoreError):
                        await database.write(submit, Submission.of(job), KNOWN)
            await database.write(submit, Submission.of(job), KNOWN)
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
