"""Checkpoint recorder: a cell's newest checkpoint in the queue, all others discarded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.queues import cells
from support.result_writers import WriterUnderTest, wait_until

from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.queue import database as database_module
from stn_cluster.queue.attempts import Checkpoint

pytestmark = pytest.mark.anyio

Discarded = list[tuple[str, Checkpoint]]


class Recorder:
    """A recorder on a queue with two running cells."""

    def __init__(self, writer: WriterUnderTest) -> None:
        self.discarded: Discarded = []
        self.writer = writer
        self.recorder = CheckpointRecorder(writer.database, self.discarded.extend)
        self.keys = [attempt.cell.key for attempt in writer.running]

    def add(self, number: int, step: int) -> Checkpoint:
        """Adds a checkpoint of one of the cells."""
        checkpoint = Checkpoint(self.writer.running[number].id, step)
        self.recorder.add(self.keys[number], checkpoint)
        return checkpoint

    def recorded(self, number: int) -> Checkpoint | None:
        """The checkpoint that the queue would resume one of the cells from."""
        row = self.writer.reader.execute(
            "SELECT checkpoint_attempt, checkpoint_step FROM cells WHERE key = ?",
            (self.keys[number],),
        ).fetchone()
        return Checkpoint(*row) if row[0] is not None else None


@pytest.fixture
async def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorder]:
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.05)
    writer = WriterUnderTest(tmp_path)
    await writer.submit(*cells(2))
    writer.running = [await writer.claim() for _ in range(2)]
    yield Recorder(writer)
    await writer.close()


async def test_a_checkpoint_is_recorded_as_it_comes(at: Recorder) -> None:
    at.writer.tasks.append(asyncio.create_task(at.recorder.run()))
    checkpoint = at.add(0, 3)
    await wait_until(lambda: at.recorded(0))
    assert (at.recorded(0), at.recorded(1)) == (checkpoint, None)
    assert at.discarded == []


async def test_a_recorded_checkpoint_is_discarded_once_the_queue_has_the_next(
    at: Recorder,
) -> None:
    first = at.add(0, 3)
    await at.recorder.flush()
    second = at.add(0, 6)
    assert at.discarded == []  # until then the cell would resume from it
    await at.recorder.flush()
    assert at.recorded(0) == second
    assert at.discarded == [(at.keys[0], first)]


async def test_only_the_newest_of_several_is_recorded_and_the_others_are_discarded(
    at: Recorder,
) -> None:
    one, two, three = at.add(0, 1), at.add(0, 2), at.add(0, 3)
    other = at.add(1, 1)
    await at.recorder.flush()
    assert (at.recorded(0), at.recorded(1)) == (three, other)
    assert at.discarded == [(at.keys[0], one), (at.keys[0], two)]


async def test_a_checkpoint_of_an_attempt_that_runs_no_more_replaces_none(at: Recorder) -> None:
    current = at.add(0, 3)
    await at.recorder.flush()
    at.recorder.add(at.keys[0], Checkpoint("superseded", 9))
    await at.recorder.flush()
    assert at.recorded(0) == current
    assert (at.keys[0], current) not in at.discarded


async def test_a_flush_waits_until_the_queue_has_all_that_was_added_before(at: Recorder) -> None:
    at.writer.tasks.append(asyncio.create_task(at.recorder.run()))
    await at.writer.read_only(True)
    first = at.add(0, 3)
    await wait_until(lambda: at.writer.database.degraded_reason)  # it is being recorded
    newest = at.add(0, 6)
    flush = asyncio.create_task(at.recorder.flush())
    await asyncio.sleep(0.1)
    assert not flush.done()
    await at.writer.read_only(False)
    await flush
    assert at.recorded(0) == newest
    assert at.discarded == [(at.keys[0], first)]


async def test_a_flush_waits_for_checkpoints_that_are_being_recorded(at: Recorder) -> None:
    at.writer.tasks.append(asyncio.create_task(at.recorder.run()))
    await at.writer.read_only(True)
    checkpoint = at.add(0, 3)
    await wait_until(lambda: at.writer.database.degraded_reason)
    flush = asyncio.create_task(at.recorder.flush())
    await asyncio.sleep(0.1)
    assert not flush.done()
    await at.writer.read_only(False)
    await flush
    assert at.recorded(0) == checkpoint


async def test_a_flush_of_nothing_does_not_touch_the_queue(at: Recorder) -> None:
    await at.writer.read_only(True)
    await at.recorder.flush()
    assert at.writer.database.degraded_reason is None
