"""A queue and the results of its store, for tests."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell, Needs
from stn_cluster.queue import claim, finish, queries, submit
from stn_cluster.queue.attempts import Attempt, AttemptEnd, Checkpoint, ExitReason, WorkerInfo
from stn_cluster.queue.database import FILE, QueueDatabase, connect
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.submission import Submission
from support.records import make_cell, make_evaluation

HERE = WorkerInfo("here", "cpu", "2.11", "node-1", 123)


def cells(count: int, first: int = 0, **columns: Any) -> tuple[Cell, ...]:
    """Cells with different streams."""
    return tuple(make_cell(seed=first + index, **columns) for index in range(count))


def pack(count: int, seed: int = 0) -> tuple[Cell, ...]:
    """Cells with one stream."""
    return tuple(make_cell(seed=seed, revision=index) for index in range(count))


def evaluations(*wanted: Cell, on: Sequence[str] = ("E",), **test: Any) -> tuple[Evaluation, ...]:
    """Evaluations of cells."""
    return tuple(make_evaluation(cell, name, **test) for cell in wanted for name in on)


class QueueUnderTest:
    """A queue with known results, and the steps of tests.

    Args:
        folder: where the queue is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: list[StoredResult] = []  # rows of the store
        self.known = KnownResults()
        self.db = connect(folder)

    def close(self) -> None:
        """Closes the file."""
        self.db.close()

    def restart(self) -> tuple[int, list[tuple[str, str]]]:
        """Restarts: reopens the queue and recovers from the store; see `finish.recover`."""
        self.db.close()
        self.db = connect(self.folder)
        self.known = KnownResults(self.stored)
        return finish.recover(self.db, self.known)

    # --- jobs ---

    def submit(self, job_id: str, wanted: Sequence[Cell], **fields: Any) -> bool:
        """Submits a job of these cells, and of `evaluations`."""
        return submit.submit(
            self.db, Submission.of(Job(job_id, tuple(wanted), **fields)), self.known
        )

    def cancel(self, job_id: str) -> list[str]:
        """Cancels a job; see `submit.cancel`."""
        return submit.cancel(self.db, job_id)

    def retry(self, job_id: str) -> int:
        """Retries a job; see `submit.retry`."""
        return submit.retry(self.db, job_id, self.known)

    def states(self, job_id: str) -> list[CellState]:
        """States of a job's cells, in its order."""
        return [status.state for _, status in queries.cells(self.db, job_id)[0]]

    def state(self, job_id: str) -> CellState:
        """State of a job."""
        return queries.job_status(self.db, job_id)[0].state

    def test_errors(self, job_id: str) -> list[float | None]:
        """Test errors of a job's cells, in its order."""
        return [status.test_error for _, status in queries.cells(self.db, job_id)[0]]

    # --- attempts ---

    def claim(
        self, size: int = 1, needs: Needs | None = None, only: str | None = None
    ) -> list[Attempt]:
        """Claims the next pack."""
        return list(claim.claim(self.db, needs or Needs(), lambda first: size, HERE, only))

    def claim_all(self, only: str | None = None) -> list[Attempt]:
        """Claims all queued cells, one by one, in order."""
        claimed = []
        while found := self.claim(only=only):
            claimed += found
        return claimed

    def store(
        self, attempt: Attempt, error: str | None = None, test_error: float | None = 5.0
    ) -> StoredResult:
        """Adds a result to the store that the queue does not know."""
        result = StoredResult(
            key=attempt.item.key,
            attempt=attempt.id,
            accepted_at=len(self.stored) + 1,
            test_error=None if error else test_error,
            error=error,
            weights_attempt=attempt.weights_attempt,
        )
        # An evaluation's row does not tell its own attempt.
        told = result if attempt.evaluation is None else replace(result, attempt=None)
        self.stored.append(told)
        self.known.add([result])
        return result

    def succeed(self, *attempts: Attempt, test_error: float | None = 5.0) -> None:
        """Ends attempts with success, tested unless `test_error` is None."""
        results = [self.store(attempt, test_error=test_error) for attempt in attempts]
        assert finish.finish(self.db, results) == [True] * len(attempts)

    def fail(self, *attempts: Attempt, error: str = "ValueError: no") -> None:
        """Ends attempts with a failure of the cell's code."""
        results = [self.store(attempt, error) for attempt in attempts]
        assert finish.finish(self.db, results) == [True] * len(attempts)

    def requeue(
        self, attempts: Iterable[Attempt], reason: ExitReason, message: str = "it went"
    ) -> list[str]:
        """Loses the worker of attempts; returns the keys of the requeued cells."""
        end = AttemptEnd(reason, message)
        return finish.requeue(self.db, {attempt.id: end for attempt in attempts})

    def lose_workers(self, times: int, reason: ExitReason = ExitReason.DIED) -> None:
        """Claims the next cell alone and loses its worker, repeatedly."""
        for number in range(times):
            self.requeue(self.claim(), reason, f"message {number}")

    def save(self, attempt: Attempt, step: int) -> Checkpoint:
        """Saves a checkpoint of a running cell, and records it in the queue."""
        checkpoint = Checkpoint(attempt.id, step)
        finish.save_checkpoints(self.db, [checkpoint])
        return checkpoint

    def exhausted(self) -> list[Attempt]:
        """Last attempts of exhausted cells; see `finish.exhausted`."""
        return finish.exhausted(self.db)

    def attempts(self, name: str) -> list[Attempt]:
        """History of a cell; see `queries.attempts`."""
        return queries.attempts(self.db, name)


def seeds(attempts: Iterable[Attempt]) -> list[int]:
    """Seeds of the attempts' cells, which identify them."""
    return [attempt.cell.seed for attempt in attempts]


def end_of(attempt: Attempt) -> AttemptEnd:
    """End of an attempt that has ended."""
    assert attempt.end is not None
    return attempt.end


def ends_told(exhausted: Attempt) -> list[str]:
    """Ends listed in the message of an exhausted cell, oldest first."""
    head, *lines = str(end_of(exhausted).message).splitlines()
    assert head == "given up after these ends:"
    numbers = [line.partition(". ")[0] for line in lines]
    assert numbers == [str(number) for number in range(1, len(lines) + 1)]
    return [line.partition(". ")[2] for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    """Contents of all files in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def file_limit(length: int) -> Iterator[None]:
    """Limits the length of files in bytes within the block: longer writes fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Keeps the queue's log from growing within the block."""
    with file_limit((folder / f"{FILE}-wal").stat().st_size):
        yield


@asynccontextmanager
async def opened(folder: Path, job: Job) -> AsyncIterator[QueueDatabase]:
    """Opens a database with one job within the block, then closes it."""
    database = QueueDatabase(folder)
    try:
        await database.write(submit.submit, Submission.of(job), KnownResults())
        yield database
    finally:
        await database.close()


async def job_ids(database: QueueDatabase) -> list[str]:
    """Ids of all jobs, oldest first."""
    return [status.job_id for status in await database.read(queries.jobs)]
