"""Housekeeping: attempts' logs, jobs' records and old checkpoints, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from support.records import make_cell
from support.result_writers import WriterUnderTest, result_writer, wait_until
from support.workers import HERE

from stn_cluster.cluster import housekeeping as module
from stn_cluster.errors import StoreError
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import Attempt, Checkpoint, utc_now
from stn_cluster.store.attempt_logs import AttemptLogs

pytestmark = pytest.mark.anyio

KEY = make_cell().key


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.05)


def attempt(name: str) -> Attempt:
    """An attempt at the cell of `KEY`."""
    return Attempt(name, make_cell(), "j", pack_size=1, worker=HERE, started_at=utc_now())


A, B = attempt("a"), attempt("b")


def lines_of(text: str | None) -> list[str]:
    """The lines of a log, without their times."""
    return [line.partition(" ")[2] for line in (text or "").splitlines()]


# --- logs ---


async def test_a_log_is_read_back_with_its_last_lines(tmp_path: Path) -> None:
    async with result_writer(tmp_path) as writer:
        house = writer.housekeeping
        assert await house.read_log(KEY, "a") is None
        house.log_line(A, "first")
        house.log(A, "2026-01-01T00:00:00Z second\n")
        house.log_line(B, "another's")
        assert lines_of(await house.read_log(KEY, "a")) == ["first", "second"]
        house.log_line(A, "third")
        assert lines_of(await house.read_log(KEY, "a")) == ["first", "second", "third"]
        assert lines_of(await house.read_log(KEY, "b")) == ["another's"]


async def test_logs_are_written_though_nobody_reads_them(tmp_path: Path) -> None:
    async with result_writer(tmp_path) as writer:
        writer.housekeeping.log_line(A, "first")
        await wait_until(lambda: lines_of(writer.store.logs.read(KEY, "a")) == ["first"])


async def test_the_last_lines_are_written_also_those_of_a_writing_that_was_cut_short(
    tmp_path: Path,
) -> None:
    count = 1000
    async with result_writer(tmp_path) as writer:
        for number in range(count):
            writer.housekeeping.log_line(attempt(f"a{number}"), "first")
        folder = writer.path / "logs" / KEY
        await wait_until(folder.exists)  # a writing has begun
        writer.housekeeping.log_line(attempt("late"), "last")
        await asyncio.wait_for(writer.housekeeping.write_logs(), 60)
        written = {path.stem: lines_of(path.read_text()) for path in folder.iterdir()}
        assert written == {f"a{n}": ["first"] for n in range(count)} | {"late": ["last"]}


async def test_a_writing_that_is_given_up_on_a_slow_store_keeps_what_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 1000.0)  # only when the test says so
    async with result_writer(tmp_path) as writer:
        await wait_until(lambda: not writer.unrecorded())  # the first round is over
        folder = writer.path / "logs" / KEY
        folder.mkdir(parents=True)
        slow = folder / "slow.log"
        os.mkfifo(slow)  # who opens it waits for a reader
        count = 4000
        for number in range(count):
            writer.housekeeping.log_line(attempt(f"a{number}"), "once")
        writer.housekeeping.log_line(attempt("slow"), "late")
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # threads take turns as often as they can
        try:
            writing = asyncio.create_task(writer.housekeeping.write_logs())
            await wait_until((folder / "a0.log").exists)
            writing.cancel()  # in the midst of it, as where closing takes too long
            with pytest.raises(asyncio.CancelledError):
                await writing
        finally:
            sys.setswitchinterval(usual)
            pipe = os.open(slow, os.O_RDONLY | os.O_NONBLOCK)  # and the store is quick again
            await writer.thread.run(lambda: None)  # the thread has come to its end
        assert lines_of(os.read(pipe, 1000).decode()) == ["late"]
        os.close(pipe)
        slow.unlink()
        assert len(list(folder.iterdir())) == count
        await writer.housekeeping.write_logs()
        assert lines_of(slow.read_text()) == ["late"]  # it was not known to be written


async def test_lines_that_the_store_does_not_take_are_kept_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 1000.0)  # only when somebody reads
    async with result_writer(tmp_path) as writer:
        house = writer.housekeeping
        await wait_until(lambda: not writer.unrecorded())  # the first round is over
        away = writer.path.rename(tmp_path / "away")
        for number in range(3):
            house.log_line(A, f"line {number}")
            house.log_line(B, f"line {number}")
            failing = asyncio.create_task(house.read_log(KEY, "a"))
            await asyncio.sleep(0)  # it has begun to write, and a worker reports more
            house.log_line(A, f"and line {number}")
            with pytest.raises(StoreError, match="folder is not there"):
                await failing
        away.rename(writer.path)
        all_lines = [f"{words}{n}" for n in range(3) for words in ("line ", "and line ")]
        assert lines_of(await house.read_log(KEY, "a")) == all_lines
        assert lines_of(await house.read_log(KEY, "b")) == all_lines[::2]


async def test_logs_beyond_the_buffer_are_dropped_and_taken_again_after_the_next_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOG_CHARACTERS", 100)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 1000.0)
    async with result_writer(tmp_path) as writer:
        house = writer.housekeeping
        house.log(A, "x" * 60)
        house.log(A, "y" * 60)
        house.log(B, "z" * 40)
        assert await house.read_log(KEY, "a") == "x" * 60
        assert await house.read_log(KEY, "b") == "z" * 40
        house.log(A, "y" * 60)
        assert await house.read_log(KEY, "a") == "x" * 60 + (
            "... 60 characters cut off: the store did not take them in time\n" + "y" * 60
        )


async def test_a_log_with_text_that_utf8_does_not_hold_is_written(tmp_path: Path) -> None:
    async with result_writer(tmp_path) as writer:
        writer.housekeeping.log_line(A, "no file b\udcff.npz")  # as os.fsdecode names it
        assert lines_of(await writer.housekeeping.read_log(KEY, "a")) == ["no file b?.npz"]
        [_, housekeeping] = writer.tasks
        assert not housekeeping.done()


# --- checkpoints ---


def names(writer: WriterUnderTest) -> list[str]:
    """The files that the running cell has under checkpoints/."""
    found = writer.store.checkpoints.of(writer.running[0].cell.key)
    return [f"{attempt}/{name}" for attempt, name in found]


async def test_a_discarded_checkpoint_is_removed_and_the_others_stay(tmp_path: Path) -> None:
    async with result_writer(tmp_path) as writer:
        key, attempt = writer.running[0].cell.key, writer.running[0].id
        old, new = Checkpoint(attempt, 3), Checkpoint(attempt, 6)
        for checkpoint in (old, new):
            writer.store.checkpoints.write(key, attempt, checkpoint.name, b"x")
        writer.housekeeping.discard([(key, old), (key, Checkpoint("unknown", 1))])
        await wait_until(lambda: names(writer) == [f"{attempt}/{new.name}"])


async def test_checkpoints_discarded_while_the_store_was_away_are_removed_once_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with result_writer(tmp_path) as writer:
        key, attempt = writer.running[0].cell.key, writer.running[0].id
        old = [Checkpoint(attempt, step) for step in (1, 2, 3)]
        for checkpoint in old:
            writer.store.checkpoints.write(key, attempt, checkpoint.name, b"x")
        await wait_until(lambda: not writer.unrecorded())
        away = writer.path.rename(tmp_path / "away")
        writer.housekeeping.discard([(key, checkpoint) for checkpoint in old])
        await wait_until(lambda: "logs and records wait" in caplog.text)
        away.rename(writer.path)
        await wait_until(lambda: names(writer) == [])


async def test_training_state_that_a_dead_coordinator_left_of_ended_cells_is_swept(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path, cells=2) as writer:
        ended, running = writer.running
        writer.results.add(writer.result(0, without_state=True))
        await writer.results.close(60)
        for attempt in (ended, running):
            for name in (Checkpoint(attempt.id, 3).name, "weights.pt"):
                writer.store.checkpoints.write(attempt.cell.key, attempt.id, name, b"x")
        writer.tasks.append(asyncio.create_task(writer.housekeeping.run()))  # of a new one
        await wait_until(lambda: len(writer.store.checkpoints.of(ended.cell.key)) == 1)
        assert writer.store.checkpoints.of(ended.cell.key) == [(ended.id, "weights.pt")]
        assert len(writer.store.checkpoints.of(running.cell.key)) == 2


# --- jobs' records ---


async def test_a_jobs_record_is_written_once_and_has_all_that_was_submitted(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path, cells=3) as writer:
        await wait_until(lambda: not writer.unrecorded())
        [record] = writer.store.jobs()
        assert record == json.loads(queries.job_record(writer.reader, "j"))
        assert writer.store.submitted() == [attempt.cell for attempt in writer.running]
        file = writer.path / "jobs" / "j.json"
        file.unlink()
        for name in ("one", "two"):  # one round is over when the next has begun
            writer.housekeeping.log_line(attempt(name), "text")
            await wait_until(lambda name=name: writer.store.logs.read(KEY, name))  # type: ignore[misc]
        assert not file.exists()


async def test_a_jobs_record_waits_for_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with result_writer(tmp_path) as writer:
        away = writer.path.rename(tmp_path / "away")
        await wait_until(lambda: "logs and records wait" in caplog.text)
        assert writer.unrecorded() == ["j"]
        away.rename(writer.path)
        await wait_until(lambda: not writer.unrecorded())
        assert [job["job_id"] for job in writer.store.jobs()] == ["j"]


async def test_a_full_disk_is_cleared_of_what_can_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Old checkpoints go first, and make room for the logs that wait."""
    async with result_writer(tmp_path) as writer:
        key, attempt = writer.running[0].cell.key, writer.running[0].id
        old, new = Checkpoint(attempt, 3), Checkpoint(attempt, 6)
        for checkpoint in (old, new):
            writer.store.checkpoints.write(key, attempt, checkpoint.name, b"x")

        def full(*_: object) -> None:
            raise StoreError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(AttemptLogs, "append", full)
            writer.housekeeping.log_line(A, "a line")
            writer.housekeeping.discard([(key, old)])
            await wait_until(lambda: names(writer) == [f"{attempt}/{new.name}"])
            await wait_until(lambda: "wait: no space left on device" in caplog.text)
        await wait_until(lambda: "a line" in (writer.store.logs.read(KEY, "a") or ""))


async def test_a_log_that_cannot_be_written_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with result_writer(tmp_path) as writer:
        append = AttemptLogs.append

        def refused(self: AttemptLogs, key: str, attempt: str, text: str) -> None:
            if attempt == "a":
                raise StoreError("is a folder")
            append(self, key, attempt, text)

        monkeypatch.setattr(AttemptLogs, "append", refused)
        for one in (A, B):
            writer.housekeeping.log_line(one, "a line")
        await wait_until(lambda: "a line" in (writer.store.logs.read(KEY, "b") or ""))
