"""Attempts' logs: every line in its order, whatever the disk does; more than enough is dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.result_writers import keep_books, wait_until

from stn_cluster.cluster import result_writer as module
from stn_cluster.errors import StoreError


def lines_of(text: str | None) -> list[str]:
    """The lines of a log, without their times."""
    return [line.partition(" ")[2] for line in (text or "").splitlines()]


def test_a_log_is_read_back_with_what_came_last(tmp_path: Path) -> None:
    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            assert await books.ledger.read_log("k", "a") is None
            books.ledger.log_line("k", "a", "first")
            books.ledger.log("k", "a", "2026-01-01T00:00:00Z second\n")
            books.ledger.log_line("k", "b", "another's")
            assert lines_of(await books.ledger.read_log("k", "a")) == ["first", "second"]
            books.ledger.log_line("k", "a", "third")
            assert lines_of(await books.ledger.read_log("k", "a")) == ["first", "second", "third"]
            assert lines_of(await books.ledger.read_log("k", "b")) == ["another's"]

    asyncio.run(keep())


def test_logs_are_written_though_nobody_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 0.05)

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            books.ledger.log_line("k", "a", "first")
            await wait_until(lambda: lines_of(books.store.read_log("k", "a")) == ["first"])

    asyncio.run(keep())


def test_closing_writes_the_lines_that_wait_also_those_of_a_round_that_it_cuts_short(
    tmp_path: Path,
) -> None:
    count = 1000

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            for number in range(count):
                books.ledger.log_line("k", f"a{number}", "first")
            folder = books.path / "logs" / "k"
            await wait_until(folder.exists)  # a round has begun
            books.ledger.log_line("k", "late", "last")
            await books.ledger.close(60)
            written = {path.stem: lines_of(path.read_text()) for path in folder.iterdir()}
            assert written == {f"a{n}": ["first"] for n in range(count)} | {"late": ["last"]}

    asyncio.run(keep())


def test_lines_that_the_store_does_not_take_are_kept_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_SECONDS", 1000.0)  # only when somebody reads

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            await wait_until(lambda: not books.reader.unrecorded())  # the first round is over
            away = books.path.rename(tmp_path / "away")
            for number in range(3):
                books.ledger.log_line("k", "a", f"line {number}")
                books.ledger.log_line("k", "b", f"line {number}")
                failing = asyncio.create_task(books.ledger.read_log("k", "a"))
                await asyncio.sleep(0)  # it has begun to write, and a worker says more
                books.ledger.log_line("k", "a", f"and line {number}")
                with pytest.raises(StoreError, match="folder is not there"):
                    await failing
            away.rename(books.path)
            all_lines = [f"{words}{n}" for n in range(3) for words in ("line ", "and line ")]
            assert lines_of(await books.ledger.read_log("k", "a")) == all_lines
            assert lines_of(await books.ledger.read_log("k", "b")) == all_lines[::2]

    asyncio.run(keep())


def test_logs_beyond_what_may_wait_are_dropped_and_taken_again_after_the_next_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOG_CHARACTERS", 100)

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            books.ledger.log("k", "a", "x" * 60)
            books.ledger.log("k", "a", "y" * 60)
            books.ledger.log("k", "b", "z" * 40)
            assert await books.ledger.read_log("k", "a") == "x" * 60
            assert await books.ledger.read_log("k", "b") == "z" * 40
            books.ledger.log("k", "a", "y" * 60)
            assert await books.ledger.read_log("k", "a") == "x" * 60 + "y" * 60

    asyncio.run(keep())
