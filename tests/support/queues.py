"""A queue and what its store holds, as the coordinator has them; for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from support.records import make_cell

from stn_cluster.cluster.protocol import Checkpoint, WorkerInfo
from stn_cluster.grid import Cell, Needs
from stn_cluster.queue import Claim, ExitReason, Loss, Queue
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults, StoredResult

HERE = WorkerInfo("here", "cpu", "2.11", "node-1", 123)


def cells(count: int, first: int = 0, **columns: Any) -> tuple[Cell, ...]:
    """Each with a stream of its own."""
    return tuple(make_cell(seed=first + index, **columns) for index in range(count))


def pack(count: int, seed: int = 0) -> tuple[Cell, ...]:
    """All with one stream."""
    return tuple(make_cell(seed=seed, revision=index) for index in range(count))


class Service:
    """A coordinator's memory.

    Args:
        folder: where the queue is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[StoredResult] = []
        self.ends = KnownResults()
        self.queue = Queue(folder)

    def close(self) -> None:
        """Ends it."""
        self.queue.close()

    def restart(self) -> tuple[int, list[tuple[str, str]]]:
        """A new coordinator, which knows what queue and store hold; see `Queue.recover`."""
        self.queue.close()
        self.queue = Queue(self.folder)
        self.ends = KnownResults(self.rows)
        return self.queue.recover(self.ends)

    def submit(self, job_id: str, wanted: Sequence[Cell], **fields: Any) -> bool:
        """Submits a job of these cells."""
        return self.queue.submit(Job(job_id, tuple(wanted), **fields), self.ends)

    def claim(
        self, size: int = 1, needs: Needs | None = None, only: str | None = None
    ) -> list[Claim]:
        """The next pack."""
        return list(self.queue.claim(needs or Needs(), lambda first: size, HERE, only))

    def claim_all(self, only: str | None = None) -> list[Claim]:
        """All that is queued, one by one, in order."""
        claims = []
        while found := self.claim(only=only):
            claims += found
        return claims

    def store(self, claim: Claim, error: str | None = None) -> StoredResult:
        """Has the store take a result that the queue has not heard of."""
        time = len(self.rows) + 1
        key, attempt = claim.assignment.cell.key, claim.assignment.attempt
        end = StoredResult(key, attempt, time, None if error else 5.0, error)
        self.rows.append(end)
        self.ends.add([end])
        return end

    def succeed(self, *claims: Claim) -> None:
        """Their cells are trained."""
        ends = [self.store(claim) for claim in claims]
        assert self.queue.finish(ends) == [True] * len(claims)

    def fail(self, *claims: Claim, error: str = "ValueError: no") -> None:
        """Their cells' code raised."""
        ends = [self.store(claim, error) for claim in claims]
        assert self.queue.finish(ends) == [True] * len(claims)

    def lose(
        self, claims: Iterable[Claim], ending: ExitReason, reason: str = "it went"
    ) -> list[str]:
        """Their worker went; the keys of what is queued again."""
        losses = [Loss(claim.assignment.attempt, ending, reason) for claim in claims]
        return self.queue.lose(losses)

    def die_alone(self, times: int, ending: ExitReason = ExitReason.DIED) -> None:
        """The next cell is tried, by itself, and its worker goes, again and again."""
        for number in range(times):
            self.lose(self.claim(), ending, f"reason {number}")

    def save(self, claim: Claim, step: int) -> Checkpoint:
        """A running cell's checkpoint is in the store."""
        checkpoint = Checkpoint(claim.assignment.attempt, step)
        self.queue.note_checkpoint([checkpoint])
        return checkpoint

    def states(self, job_id: str) -> list[CellState]:
        """Of a job's cells, in its order."""
        return [status.state for _, status in self.queue.cells(job_id)[0]]

    def state(self, job_id: str) -> CellState:
        """Of a job."""
        return self.queue.job(job_id)[0].state


def seeds(claims: Iterable[Claim]) -> list[int]:
    """Which cells they are of."""
    return [claim.assignment.cell.seed for claim in claims]


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
