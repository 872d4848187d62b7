"""A ledger on a real store and a real queue, and results for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from records import make_cell

from stn_cluster.cluster.job import Job, State
from stn_cluster.cluster.ledger import Ledger, Result
from stn_cluster.cluster.messages import WorkerInfo, utc_now
from stn_cluster.cluster.queue import Queue
from stn_cluster.cluster.record import Attempt
from stn_cluster.cluster.stored import StoredEnds
from stn_cluster.cluster.threads import Thread
from stn_cluster.store import Store
from stn_cluster.training.outcome import CurvePoint, Outcome, Predictions

HERE = WorkerInfo("here", "cpu", "2.11")


def make_predictions(test_set: str = "0123456789abcdef") -> Predictions:
    """Of three images."""
    probabilities = np.array([60_000, 40_000, 30_000], "<u2").tobytes()
    return Predictions(
        test_set=test_set,
        n_classes=10,
        first=bytes([0, 1, 2]),
        second=bytes([1, 2, 3]),
        confidence=probabilities,
        second_confidence=bytes(6),
    )


class Books:
    """A ledger, what it writes to, and what it has told.

    Args:
        folder: for the store and the queue.
        cells: how many are running, all of job `j`; at least 1.
    """

    def __init__(self, folder: Path, cells: int) -> None:
        self.path = folder / "store"
        self.store = Store.open(self.path, create=True)
        self.ends = StoredEnds()
        self.queue = Queue(folder / "state")
        self.reader = Queue(folder / "state", reads_only=True)  # for those who only look
        self.thread = Thread("queue")
        self.committed: list[Result] = []
        self.queue.submit(Job("j", tuple(make_cell(seed=i) for i in range(cells))), self.ends)
        [pool] = self.queue.demand()
        claims = [self.queue.claim(pool.needs, lambda first: 1, HERE)[0] for _ in range(cells)]
        self.running = [
            Attempt("j", c.assignment.cell, c.assignment.attempt, utc_now(), HERE, pack_size=1)
            for c in claims
        ]
        self.ledger = Ledger(self.store, self.ends, self.queue, self.thread, self.committed.extend)

    def result(self, number: int, *, error: str | None = None, clean: bool = False) -> Result:
        """What came of one of the running cells."""
        attempt = self.running[number]
        outcome = Outcome(
            key=attempt.cell.key,
            error=error,
            n_test=None if error else 200,
            n_wrong=None if error else number,
            predictions=None if error else make_predictions(),
            curve=(CurvePoint(step=8, train_loss=0.5, lr=0.1),),
        )
        return Result(attempt, outcome, clean)

    def states(self) -> list[State]:
        """Of the cells in the queue."""
        return [status.state for _, status in self.reader.cells("j")[0]]

    def rows(self) -> list[str]:
        """The attempts in the store, in the order of their acceptance."""
        rows = self.store.results(latest=False).sort_values("accepted_at")
        return list(rows["attempt"])

    def commits(self) -> int:
        """Files of `cells` that have rows."""
        return len(list((self.path / "cells").glob("2*.parquet")))


@asynccontextmanager
async def keep_books(folder: Path, cells: int = 1) -> AsyncIterator[Books]:
    """Books that are closed in any case."""
    books = Books(folder, cells)
    try:
        yield books
    finally:
        for task in books.ledger.tasks:
            task.cancel()
        await books.thread(books.queue.close)  # there: else it may be closed while it is at work
        books.thread.close()
        books.reader.close()


async def wait_until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until it is true, while others go on; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def attempts_of(results: Sequence[Result]) -> list[str]:
    """Their ids."""
    return [result.attempt.attempt for result in results]
