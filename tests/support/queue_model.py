"""Model of the queue: an independent implementation of its rules with plain dicts, without SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stn_cluster.grid import Cell, Needs
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.finish import MAX_FAILURES, MAX_NODE_LOSSES
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import StoredResult

UNFINISHED = (CellState.QUEUED, CellState.RUNNING)


@dataclass
class ModelCell:
    """State of one cell, shared by all jobs."""

    cell: Cell
    rank: int  # in the order of insertion
    since: int
    state: CellState = CellState.QUEUED
    has_result: bool = False  # whether it has succeeded
    test_error: float | None = None  # test error of its last success, if it was tested
    attempt: str | None = None  # current or last attempt
    checkpoint: Checkpoint | None = None
    isolated: bool = False
    failures: int = 0
    node_losses: int = 0
    exhausted: bool = False


@dataclass
class ModelJob:
    """State of one job and of its cells for it."""

    job: Job
    number: int
    stored: set[str] = field(default_factory=set)  # cells with a result when the job was submitted
    pending: set[str] = field(default_factory=set)  # cells that the job waits for
    dropped: set[str] = field(default_factory=set)  # cells that its cancellation dropped
    cancelled: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Sort key: smaller values go first."""
        return (-self.job.priority, self.number)


@dataclass
class ModelAttempt:
    """One attempt, and its end."""

    key: str
    pack_size: int
    reason: ExitReason | None = None  # None while it runs
    counts: bool = False  # as a failure


class Model:
    """Model of a queue and its store."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.cells: dict[str, ModelCell] = {}
        self.attempts: dict[str, ModelAttempt] = {}
        self.store: list[StoredResult] = []
        self.accepted: list[str] = []  # attempts whose results were accepted

    # --- the store ---

    @property
    def watermark(self) -> int:
        return max((end.accepted_at for end in self.store), default=0)

    def success(self, key: str, since: int = -1) -> StoredResult | None:
        found = [e for e in self.store if e.key == key and not e.error and e.accepted_at > since]
        return found[-1] if found else None

    def failure(self, key: str, since: int) -> StoredResult | None:
        found = [e for e in self.store if e.key == key and e.error and e.accepted_at > since]
        return found[-1] if found else None

    # --- jobs ---

    def submit(self, job: Job) -> bool:
        if job.job_id in self.jobs:
            return False
        entry = self.jobs[job.job_id] = ModelJob(job, len(self.jobs) + 1)
        for cell in job.cells:
            self._enter(entry, cell)
        return True

    def _enter(self, entry: ModelJob, cell: Cell) -> None:
        known = self.cells.get(cell.key)
        if known is not None and known.state in UNFINISHED:
            entry.pending.add(cell.key)
            return
        if known is None:
            known = self.cells[cell.key] = ModelCell(cell, len(self.cells), self.watermark)
        if not entry.job.force and (end := self.success(cell.key)):
            entry.stored.add(cell.key)
            self._take(known, end)
            return
        entry.pending.add(cell.key)
        if entry.job.force:
            known.checkpoint = None
        self._queue_anew(known)

    def _take(self, cell: ModelCell, end: StoredResult) -> None:
        cell.state, cell.attempt = CellState.SUCCEEDED, end.attempt
        cell.has_result, cell.test_error, cell.checkpoint = True, end.test_error, None

    def _queue_anew(self, cell: ModelCell) -> None:
        cell.state, cell.since = CellState.QUEUED, self.watermark
        cell.isolated, cell.failures, cell.node_losses, cell.exhausted = False, 0, 0, False

    def cancel(self, job_id: str) -> set[str]:
        entry = self.jobs[job_id]
        if not entry.pending:
            return set()
        entry.cancelled = True
        dropped, entry.pending = entry.pending, set()
        entry.dropped |= dropped
        stopped = set()
        for key in dropped:
            if self.owner(key) is None:
                stopped |= self._drop(self.cells[key])
        return stopped

    def _drop(self, cell: ModelCell) -> set[str]:
        stopped = set()
        if cell.state is CellState.RUNNING:
            assert cell.attempt is not None
            self.attempts[cell.attempt].reason = ExitReason.CANCELLED
            stopped.add(cell.attempt)
        cell.exhausted = False
        cell.state = CellState.SUCCEEDED if cell.has_result else CellState.CANCELLED
        return stopped

    def retry(self, job_id: str) -> int:
        entry = self.jobs[job_id]
        entry.cancelled = False
        for key in (cell.key for cell in entry.job.cells):
            cell = self.cells[key]
            cancelled = key in entry.dropped and cell.state is CellState.CANCELLED
            if cancelled and not entry.job.force and (end := self.success(key)):
                self._take(cell, end)  # which came just after it was cancelled
            elif key in entry.dropped and cell.state in UNFINISHED:
                entry.pending.add(key)
            elif cell.state in (CellState.FAILED, CellState.CANCELLED) or (
                key in entry.dropped and entry.job.force
            ):
                entry.pending.add(key)
                self._queue_anew(cell)
        entry.dropped = set()
        return len(entry.pending)

    # --- attempts ---

    def owner(self, key: str) -> ModelJob | None:
        """Job that a cell is trained for."""
        waiting = [entry for entry in self.jobs.values() if key in entry.pending]
        return min(waiting, key=lambda entry: entry.place, default=None)

    def queued(self, needs: Needs | None = None, only: str | None = None) -> list[str]:
        """Keys of the cells that may be claimed, in order."""
        found = [
            key
            for key, cell in self.cells.items()
            if cell.state is CellState.QUEUED
            and not cell.exhausted
            and needs in (None, cell.cell.needs)
            and (only is None or key in self.jobs[only].pending)
        ]
        return sorted(found, key=self._order)

    def _order(self, key: str) -> tuple[tuple[int, int], float, int]:
        owner, cell = self.owner(key), self.cells[key]
        assert owner is not None
        return (owner.place, -cell.cell.cost, cell.rank)

    def next_pack(self, needs: Needs, size: int, only: str | None) -> list[str]:
        """Keys of the next pack."""
        queued = self.queued(needs, only)
        if not queued:
            return []
        first = self.cells[queued[0]]
        if first.isolated:
            return queued[:1]
        mates = [
            key
            for key in queued
            if self.cells[key].cell.stream == first.cell.stream
            and self.owner(key) is self.owner(queued[0])
            and not self.cells[key].isolated
        ]
        return mates[:size]

    def begin(self, attempt: str, key: str, pack_size: int) -> None:
        assert attempt not in self.attempts
        self.attempts[attempt] = ModelAttempt(key, pack_size)
        self.cells[key].state, self.cells[key].attempt = CellState.RUNNING, attempt

    def running(self) -> list[str]:
        """Running attempts, oldest first."""
        return [name for name, attempt in self.attempts.items() if attempt.reason is None]

    def save_checkpoint(self, checkpoint: Checkpoint) -> list[tuple[str, Checkpoint]]:
        attempt = self.attempts[checkpoint.attempt]
        if attempt.reason is not None:
            return []
        cell = self.cells[attempt.key]
        before, cell.checkpoint = cell.checkpoint, checkpoint
        return [(attempt.key, before)] if before not in (None, checkpoint) else []

    def finish(self, end: StoredResult) -> bool:
        cell = self.cells[end.key]
        if cell.attempt != end.attempt or not (cell.state is CellState.RUNNING or cell.exhausted):
            return False
        self._end(cell, end)
        return True

    def _end(self, cell: ModelCell, end: StoredResult) -> None:
        self.accepted.append(end.attempt)
        cell.state = CellState.FAILED if end.error else CellState.SUCCEEDED
        cell.attempt = end.attempt
        if not end.error:
            cell.has_result, cell.test_error = True, end.test_error
        cell.isolated, cell.exhausted, cell.checkpoint = False, False, None
        for entry in self.jobs.values():
            entry.pending.discard(end.key)
        if self.attempts[end.attempt].reason is None:
            self.attempts[end.attempt].reason = ExitReason(cell.state.value)

    def requeue(self, attempts: Iterable[str], reason: ExitReason) -> list[str]:
        requeued = []
        for name in attempts:
            attempt = self.attempts[name]
            if attempt.reason is not None:
                continue
            attempt.reason = reason
            cell = self.cells[attempt.key]
            cell.state = CellState.QUEUED
            if reason in (ExitReason.DIED, ExitReason.EXPIRED):
                attempt.counts = attempt.pack_size == 1
                cell.failures += attempt.counts
                cell.isolated |= not attempt.counts
            cell.node_losses += reason is ExitReason.NODE_LOST
            cell.exhausted = cell.failures >= MAX_FAILURES or cell.node_losses >= MAX_NODE_LOSSES
            requeued.append(attempt.key)
        return requeued

    def exhausted(self) -> list[str]:
        """Keys of cells whose failure is to be stored."""
        return [key for key, cell in self.cells.items() if cell.exhausted]

    def recover(self) -> tuple[int, set[tuple[str, str]]]:
        ended = 0
        for key, cell in self.cells.items():
            end = self.success(key, cell.since) or self.failure(key, cell.since)
            if cell.state in UNFINISHED and end is not None and not self._superseded(cell, end):
                if cell.attempt and cell.attempt != end.attempt and cell.state is CellState.RUNNING:
                    self.attempts[cell.attempt].reason = ExitReason.COORDINATOR_LOST
                self._end(cell, end)
                ended += 1
        running = self.running()
        self.requeue(running, ExitReason.COORDINATOR_LOST)
        return ended, {(self.attempts[name].key, name) for name in running}

    def _superseded(self, cell: ModelCell, end: StoredResult) -> bool:
        if cell.exhausted and cell.attempt == end.attempt:
            return False
        return self.attempts[end.attempt].reason is not None

    # --- status ---

    def view(self, job_id: str) -> dict[str, CellState]:
        """Status of a job's cells, by key."""
        entry = self.jobs[job_id]
        return {
            cell.key: CellState.CANCELLED
            if cell.key in entry.dropped
            else self.cells[cell.key].state
            for cell in entry.job.cells
        }

    def state(self, job_id: str) -> CellState:
        """State of a job."""
        seen = set(self.view(job_id).values())
        if self.jobs[job_id].cancelled:
            return CellState.CANCELLED
        if seen == {CellState.QUEUED}:
            return CellState.QUEUED
        if seen & {CellState.QUEUED, CellState.RUNNING}:
            return CellState.RUNNING
        worst = (CellState.FAILED, CellState.CANCELLED, CellState.SUCCEEDED)
        return next(state for state in worst if state in seen)
