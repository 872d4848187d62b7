"""Result writer: a result is stored once, whatever the disk does, and then told to the queue."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from support.result_writers import WriterUnderTest, attempts_of, result_writer, wait_until

from stn_cluster.cluster import housekeeping as housekeeping_module
from stn_cluster.cluster import result_writer as module
from stn_cluster.cluster.rows import stored_results
from stn_cluster.errors import StoreError
from stn_cluster.queue import database as database_module
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import WEIGHTS, Checkpoint
from stn_cluster.queue.jobs import CellState

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(housekeeping_module, "INTERVAL_SECONDS", 0.05)


# --- commits ---


async def test_results_that_come_together_are_one_commit_and_durable_once_told(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path, cells=30) as writer:
        results = [writer.result(number) for number in range(30)]
        for result in results:
            writer.results.add(result)
        assert writer.results.pending == 30
        await wait_until(lambda: writer.committed)
        assert writer.rows() == attempts_of(results) == attempts_of(writer.committed)
        assert writer.commits() == 1
        assert writer.states() == [CellState.SUCCEEDED] * 30
        assert writer.results.pending == 0
        assert writer.results.degraded_reason is None


async def test_more_results_than_a_group_are_several_commits_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP", 4)
    async with result_writer(tmp_path, cells=10) as writer:
        results = [writer.result(number) for number in range(10)]
        for result in results:
            writer.results.add(result)
        await writer.results.close(60)
        assert writer.commits() == 3
        assert writer.rows() == attempts_of(results) == attempts_of(writer.committed)


async def test_a_failure_is_a_result_and_the_queue_keeps_its_error(tmp_path: Path) -> None:
    async with result_writer(tmp_path, cells=2) as writer:
        writer.results.add(writer.result(0, error="Traceback:\n  File x\nKeyError: 'a'"))
        writer.results.add(writer.result(1))
        await writer.results.close(60)
        failed, succeeded = (status for _, status in queries.cells(writer.reader, "j")[0])
        assert (failed.state, failed.error) == (CellState.FAILED, "KeyError: 'a'")
        assert (succeeded.state, succeeded.test_error) == (CellState.SUCCEEDED, 0.5)
        assert set(writer.store.results()["status"]) == {"failed", "succeeded"}


async def test_known_results_are_those_that_the_store_has(tmp_path: Path) -> None:
    async with result_writer(tmp_path, cells=3) as writer:
        writer.results.add(writer.result(0, error="ValueError: no\n"))
        writer.results.add(writer.result(1))
        await wait_until(lambda: not writer.results.pending)
        writer.results.add(writer.result(2))
        await writer.results.close(60)
        read = stored_results(writer.store)
        assert writer.known.watermark == read.watermark > 0
        for attempt in writer.running:
            key = attempt.cell.key
            assert writer.known.success(key) == read.success(key)
            assert writer.known.after(key, 0) == read.after(key, 0) is not None


# --- disks that fail ---


async def test_results_are_buffered_while_the_store_is_away_and_written_once_it_is_back(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path, cells=3) as writer:
        writer.results.add(writer.result(0))
        await wait_until(lambda: writer.committed)
        away = writer.path.rename(tmp_path / "away")
        writer.results.add(writer.result(1))
        await wait_until(lambda: writer.results.degraded_reason)
        writer.results.add(writer.result(2))
        assert str(writer.path) in str(writer.results.degraded_reason)
        assert writer.results.pending == 2
        assert len(writer.committed) == 1
        assert writer.states() == [CellState.SUCCEEDED, CellState.RUNNING, CellState.RUNNING]
        assert not writer.path.exists()

        away.rename(writer.path)
        await wait_until(lambda: not writer.results.pending)
        assert writer.results.degraded_reason is None
        assert writer.rows() == attempts_of(writer.committed)
        assert len(set(writer.rows())) == 3
        assert writer.store.read("predictions").num_rows == 3
        assert writer.states() == [CellState.SUCCEEDED] * 3
        writer.store.check()


async def test_a_result_is_stored_once_also_where_the_queue_cannot_be_written_for_a_while(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path) as writer:
        await wait_until(lambda: not writer.unrecorded())
        await writer.read_only(True)
        writer.results.add(writer.result(0))
        await wait_until(lambda: writer.database.degraded_reason)
        assert "readonly database" in str(writer.database.degraded_reason)
        assert writer.results.degraded_reason is None  # the store is not to blame
        assert writer.rows() == [writer.running[0].id]
        assert writer.committed == []  # not before the queue knows
        assert writer.results.pending == 1
        await writer.read_only(False)
        await wait_until(lambda: writer.committed)
        assert writer.database.degraded_reason is None
        assert writer.rows() == [writer.running[0].id]
        assert writer.states() == [CellState.SUCCEEDED]


async def test_a_mistake_of_ours_in_the_queue_is_raised_and_not_tried_again(
    tmp_path: Path,
) -> None:
    def forbid_successes(db: sqlite3.Connection) -> None:
        db.execute(
            "CREATE TRIGGER forbid BEFORE UPDATE ON cells WHEN NEW.state = 'succeeded' "
            "BEGIN SELECT RAISE(ABORT, 'no such state'); END"
        )

    async with result_writer(tmp_path) as writer:
        await writer.database.write(forbid_successes)
        writer.results.add(writer.result(0))
        [task, *_] = writer.tasks
        with pytest.raises(sqlite3.IntegrityError, match="no such state"):
            await asyncio.wait_for(asyncio.shield(task), 60)
        writer.tasks.remove(task)
        assert writer.committed == []
        assert writer.states() == [CellState.RUNNING]
        assert writer.database.degraded_reason is None


# --- closing ---


async def test_closing_waits_for_results_and_raises_where_they_cannot_be_written(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path) as writer:
        away = writer.path.rename(tmp_path / "away")
        writer.results.add(writer.result(0))
        with pytest.raises(StoreError, match="folder is not there") as caught:
            await writer.results.close(0.5)
        assert str(writer.path) in str(caught.value)
        assert writer.committed == []
        assert writer.states() == [CellState.RUNNING]
        away.rename(writer.path)
        assert writer.rows() == []


async def test_closing_with_nothing_to_write_is_done_at_once(tmp_path: Path) -> None:
    async with result_writer(tmp_path) as writer:
        await asyncio.wait_for(writer.results.close(1000.0), 60)


async def test_closing_a_slow_store_ends_in_time_and_the_result_is_not_written_twice(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path) as writer:
        async with writer.slow_store():
            writer.results.add(writer.result(0))
            with pytest.raises(StoreError, match="could not be written in time"):
                await writer.results.close(0.05)
        await writer.results.close(60)  # it goes on where it was
        assert writer.rows() == attempts_of(writer.committed) == [writer.running[0].id]


# --- checkpoints of ended cells ---


def names(writer: WriterUnderTest, number: int) -> list[str]:
    """The files that a cell has under checkpoints/."""
    found = writer.store.checkpoints.of(writer.running[number].cell.key)
    return [f"{attempt}/{name}" for attempt, name in found]


async def test_a_cell_that_ended_keeps_its_weights_and_no_training_state(tmp_path: Path) -> None:
    async with result_writer(tmp_path, cells=3) as writer:
        for number, attempt in enumerate(writer.running):
            key = attempt.cell.key
            for name in (Checkpoint(attempt.id, 3).name, WEIGHTS):
                writer.store.checkpoints.write(key, attempt.id, name, b"x")
                writer.store.checkpoints.write(key, f"before-{number}", name, b"x")
        untouched = names(writer, 1), names(writer, 2)
        writer.results.add(writer.result(0))
        writer.results.add(writer.result(1, without_state=True))  # it is said that there is none
        await wait_until(lambda: len(names(writer, 0)) == 2)
        await writer.results.close(60)
        attempt = writer.running[0].id
        assert names(writer, 0) == sorted([f"{attempt}/{WEIGHTS}", f"before-0/{WEIGHTS}"])
        assert (names(writer, 1), names(writer, 2)) == untouched
