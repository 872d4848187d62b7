"""A result writer and housekeeping on a real store and a real queue, and results for them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.grid import Cell
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.claim import claim
from stn_cluster.queue.database import QueueDatabase, connect_reader
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.submission import Submission
from stn_cluster.queue.submit import submit
from stn_cluster.store import Store
from stn_cluster.threads import SingleThread
from stn_cluster.training.outcome import CurvePoint, Outcome, Predictions
from support.records import make_cell
from support.workers import HERE


class WriterUnderTest:
    """A result writer with its store and queue.

    Args:
        folder: for the store and the queue.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store"
        self.store = Store.open(self.path, create=True)
        self.known = KnownResults()
        self.database = QueueDatabase(folder / "state")
        self.reader = connect_reader(folder / "state")  # for tests that only look
        self.thread = SingleThread("store")
        self.housekeeping = Housekeeping(
            store=self.store, thread=self.thread, database=self.database
        )
        self.results = ResultWriter(
            store=self.store,
            thread=self.thread,
            known=self.known,
            database=self.database,
            housekeeping=self.housekeeping,
        )
        self.running: list[Attempt] = []  # those of job `j`
        self.committed: list[Result] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def submit(self, *cells: Cell, job_id: str = "j", **fields: Any) -> None:
        """Queues a job."""
        job = Submission.of(Job(job_id, cells, **fields))
        await self.database.write(submit, job, self.known)

    async def claim(self) -> Attempt:
        """Claims the next cell, alone in its pack."""
        [attempt] = await self.database.write(claim, make_cell().needs, lambda cell: 1, HERE)
        return attempt

    def result(
        self, number: int, *, error: str | None = None, without_state: bool = False
    ) -> Result:
        """Makes the result of a running cell."""
        attempt = self.running[number]
        return Result(attempt, make_outcome(attempt, error, n_wrong=number), without_state)

    def states(self) -> list[CellState]:
        """States of the cells in the queue."""
        return [status.state for _, status in queries.cells(self.reader, "j")[0]]

    def unrecorded(self) -> list[str]:
        """Ids of the jobs that the store has no record of."""
        return queries.unrecorded_jobs(self.reader)

    def rows(self) -> list[str]:
        """Ids of the attempts in the store, in the order of their acceptance."""
        rows = self.store.results(latest=False).sort_values("accepted_at")
        return list(rows["attempt"])

    async def read_only(self, value: bool) -> None:
        """Makes the queue unwritable, as a full disk does; or writable again."""

        def change(db: sqlite3.Connection) -> None:
            db.execute(f"PRAGMA query_only = {value}")

        await self.database.write(change)

    @asynccontextmanager
    async def slow_store(self) -> AsyncIterator[None]:
        """Blocks all accesses of the store within the block."""
        done = threading.Event()
        waiting = asyncio.create_task(self.thread.run(done.wait))
        try:
            yield
        finally:
            done.set()
            await waiting

    def commits(self) -> int:
        """Files of `cells` that have rows."""
        return len(list((self.path / "cells").glob("2*.parquet")))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError):
                await task
        self.thread.close()
        self.reader.close()
        await self.database.close()


@asynccontextmanager
async def result_writer(folder: Path, cells: int = 1) -> AsyncIterator[WriterUnderTest]:
    """Runs a result writer and housekeeping within the block, then closes them.

    Args:
        folder: for the store and the queue.
        cells: how many are running, all of job `j`; at least 1.
    """
    writer = WriterUnderTest(folder)
    try:
        await writer.submit(*(make_cell(seed=seed) for seed in range(cells)))
        writer.running = [await writer.claim() for _ in range(cells)]
        writer.tasks = [
            asyncio.create_task(writer.results.run(writer.committed.extend)),
            asyncio.create_task(writer.housekeeping.run()),
        ]
        yield writer
    finally:
        await writer.close()


def make_outcome(attempt: Attempt, error: str | None = None, n_wrong: int = 7) -> Outcome:
    """Outcome of an attempt with `n_wrong` errors in 200 test images, or a failure."""
    return Outcome(
        key=attempt.cell.key,
        error=error,
        n_test=None if error else 200,
        n_wrong=None if error else n_wrong,
        predictions=None if error else make_predictions(),
        curve=(CurvePoint(step=8, train_loss=0.5, lr=0.1),),
    )


def make_predictions(test_set: str = "0123456789abcdef") -> Predictions:
    """Predictions of three images."""
    probabilities = np.array([60_000, 40_000, 30_000], "<u2").tobytes()
    return Predictions(
        test_set=test_set,
        n_classes=10,
        first=bytes([0, 1, 2]),
        second=bytes([1, 2, 3]),
        confidence=probabilities,
        second_confidence=bytes(6),
    )


async def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until a condition is true, while other tasks run; fails after a timeout."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def attempts_of(results: Sequence[Result]) -> list[str]:
    """Ids of the results' attempts."""
    return [result.attempt.id for result in results]
