"""What goes to the store: results once, whatever the disk does; all else when it can."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.result_writers import Books, attempts_of, keep_books, wait_until

from stn_cluster.cluster import result_writer as module
from stn_cluster.cluster.history import stored_ends
from stn_cluster.cluster.protocol import WEIGHTS, Checkpoint
from stn_cluster.errors import StoreError
from stn_cluster.queue.jobs import CellState


@pytest.fixture(autouse=True)
def _no_time_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again soon, and tidies up often."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module, "LOG_SECONDS", 0.05)


# --- results ---


def test_results_that_come_together_are_one_commit_and_each_is_durable_once_it_is_told(
    tmp_path: Path,
) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=30) as books:
            results = [books.result(number) for number in range(30)]
            for result in results:
                books.ledger.add(result)
            assert books.ledger.waiting == 30
            await wait_until(lambda: books.committed)
            assert books.rows() == attempts_of(results) == attempts_of(books.committed)
            assert books.commits() == 1
            assert books.states() == [CellState.SUCCEEDED] * 30
            assert books.ledger.waiting == 0
            assert books.ledger.trouble is None

    asyncio.run(keep())


def test_results_beyond_a_groups_size_are_several_commits_in_the_order_in_which_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP", 4)

    async def keep() -> None:
        async with keep_books(tmp_path, cells=10) as books:
            results = [books.result(number) for number in range(10)]
            for result in results:
                books.ledger.add(result)
            await books.ledger.close(60)
            assert books.commits() == 3
            assert books.rows() == attempts_of(results) == attempts_of(books.committed)

    asyncio.run(keep())


def test_a_failure_is_a_result_and_the_queue_keeps_its_reason(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=2) as books:
            books.ledger.add(books.result(0, error="Traceback:\n  File x\nKeyError: 'a'"))
            books.ledger.add(books.result(1))
            await books.ledger.close(60)
            failed, succeeded = (status for _, status in books.reader.cells("j")[0])
            assert (failed.state, failed.error) == (CellState.FAILED, "KeyError: 'a'")
            assert (succeeded.state, succeeded.test_error) == (CellState.SUCCEEDED, 0.5)
            assert set(books.store.results()["status"]) == {"failed", "succeeded"}

    asyncio.run(keep())


def test_what_the_ledger_knows_of_the_store_is_what_the_store_says(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=3) as books:
            books.ledger.add(books.result(0, error="ValueError: no\n"))
            books.ledger.add(books.result(1))
            await wait_until(lambda: not books.ledger.waiting)
            books.ledger.add(books.result(2))
            await books.ledger.close(60)
            read = stored_ends(books.store)
            assert books.ends.watermark == read.watermark > 0
            for attempt in books.running:
                key = attempt.cell.key
                assert books.ends.success(key) == read.success(key)
                assert books.ends.after(key, 0) == read.after(key, 0) is not None

    asyncio.run(keep())


def test_results_wait_while_the_store_is_away_and_are_written_once_when_it_is_back(
    tmp_path: Path,
) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=3) as books:
            books.ledger.add(books.result(0))
            await wait_until(lambda: books.committed)
            away = books.path.rename(tmp_path / "away")
            books.ledger.add(books.result(1))
            await wait_until(lambda: books.ledger.trouble)
            books.ledger.add(books.result(2))
            assert str(books.path) in str(books.ledger.trouble)
            assert books.ledger.waiting == 2
            assert len(books.committed) == 1
            assert books.states() == [CellState.SUCCEEDED, CellState.RUNNING, CellState.RUNNING]
            assert not books.path.exists()

            away.rename(books.path)
            await wait_until(lambda: not books.ledger.waiting)
            assert books.ledger.trouble is None
            assert books.rows() == attempts_of(books.committed)
            assert len(set(books.rows())) == 3
            assert books.store.read("predictions").num_rows == 3
            assert books.states() == [CellState.SUCCEEDED] * 3
            books.store.check()

    asyncio.run(keep())


def test_a_result_is_stored_once_also_where_the_queue_can_not_be_written_for_a_while(
    tmp_path: Path,
) -> None:
    async def read_only(books: Books, value: str) -> None:
        await books.thread(books.queue._db.execute, f"PRAGMA query_only = {value}")

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            await wait_until(lambda: not books.reader.unrecorded())
            await read_only(books, "TRUE")
            books.ledger.add(books.result(0))
            await wait_until(lambda: books.ledger.trouble)
            assert "readonly database" in str(books.ledger.trouble)
            assert books.rows() == [books.running[0].attempt]
            assert books.committed == []  # not before the queue knows
            assert books.ledger.waiting == 1
            await read_only(books, "FALSE")
            await wait_until(lambda: books.committed)
            assert books.ledger.trouble is None
            assert books.rows() == [books.running[0].attempt]
            assert books.states() == [CellState.SUCCEEDED]

    asyncio.run(keep())


def test_closing_waits_for_results_and_says_so_where_they_cannot_be_written(
    tmp_path: Path,
) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            away = books.path.rename(tmp_path / "away")
            books.ledger.add(books.result(0))
            with pytest.raises(StoreError, match="folder is not there") as caught:
                await books.ledger.close(0.5)
            assert str(books.path) in str(caught.value)
            assert books.committed == []
            assert books.states() == [CellState.RUNNING]
            away.rename(books.path)
            assert books.rows() == []

    asyncio.run(keep())


def test_closing_with_nothing_to_write_is_done_at_once(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            await asyncio.wait_for(books.ledger.close(1000.0), 60)
            assert all(task.done() for task in await settled(books))

    async def settled(books: Books) -> list[asyncio.Task[None]]:
        await asyncio.gather(*books.ledger.tasks, return_exceptions=True)
        return books.ledger.tasks

    asyncio.run(keep())


# --- checkpoints ---


def names(books: Books, number: int) -> list[str]:
    """The files that a cell has under checkpoints/."""
    found = books.store.checkpoints(books.running[number].cell.key)
    return [f"{attempt}/{name}" for attempt, name in found]


def test_a_cell_that_ended_keeps_its_weights_and_no_training_state(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=3) as books:
            for number, attempt in enumerate(books.running):
                key = attempt.cell.key
                for name in (Checkpoint(attempt.attempt, 3).name, WEIGHTS):
                    books.store.write_checkpoint(key, attempt.attempt, name, b"x")
                    books.store.write_checkpoint(key, f"before-{number}", name, b"x")
            untouched = names(books, 1), names(books, 2)
            books.ledger.add(books.result(0))
            books.ledger.add(books.result(1, clean=True))  # it is said that there are none
            await wait_until(lambda: len(names(books, 0)) == 2)
            await books.ledger.close(60)
            attempt = books.running[0].attempt
            assert names(books, 0) == sorted([f"{attempt}/{WEIGHTS}", f"before-0/{WEIGHTS}"])
            assert (names(books, 1), names(books, 2)) == untouched

    asyncio.run(keep())


def test_a_checkpoint_that_was_replaced_goes_and_the_others_stay(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            key, attempt = books.running[0].cell.key, books.running[0].attempt
            old, new = Checkpoint(attempt, 3), Checkpoint(attempt, 6)
            for checkpoint in (old, new):
                books.store.write_checkpoint(key, attempt, checkpoint.name, b"x")
            books.ledger.drop([(key, old), (key, Checkpoint("unknown", 1))])
            await wait_until(lambda: names(books, 0) == [f"{attempt}/{new.name}"])

    asyncio.run(keep())


def test_checkpoints_that_were_replaced_while_the_store_was_away_go_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            key, attempt = books.running[0].cell.key, books.running[0].attempt
            old = [Checkpoint(attempt, step) for step in (1, 2, 3)]
            for checkpoint in old:
                books.store.write_checkpoint(key, attempt, checkpoint.name, b"x")
            await wait_until(lambda: not books.reader.unrecorded())
            away = books.path.rename(tmp_path / "away")
            books.ledger.drop([(key, checkpoint) for checkpoint in old])
            await wait_until(lambda: "logs and records wait" in caplog.text, seconds=10)
            away.rename(books.path)
            await wait_until(lambda: names(books, 0) == [])

    asyncio.run(keep())


# --- jobs' records ---


def test_a_jobs_record_is_written_once_and_has_all_that_was_submitted(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path, cells=3) as books:
            await wait_until(lambda: not books.reader.unrecorded())
            [record] = books.store.jobs()
            assert record == books.reader.job_record("j")
            assert books.store.submitted() == [attempt.cell for attempt in books.running]
            file = books.path / "jobs" / "j.json"
            file.unlink()
            for name in ("one", "two"):  # one round of tidying up is over when the next has begun
                books.ledger.log_line("k", name, "text")
                await wait_until(lambda name=name: books.store.read_log("k", name))
            assert not file.exists()

    asyncio.run(keep())


def test_a_jobs_record_waits_for_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            away = books.path.rename(tmp_path / "away")
            await wait_until(lambda: "logs and records wait" in caplog.text)
            assert books.reader.unrecorded() == ["j"]
            away.rename(books.path)
            await wait_until(lambda: not books.reader.unrecorded())
            assert [job["job_id"] for job in books.store.jobs()] == ["j"]

    asyncio.run(keep())
