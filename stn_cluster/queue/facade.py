"""The queue as its users see it. One thread at a time uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from stn_cluster.cluster.protocol import Checkpoint, WorkerInfo
from stn_cluster.grid import Cell, Needs
from stn_cluster.queue import cancel as wishes
from stn_cluster.queue import claim as claims
from stn_cluster.queue import finish as endings
from stn_cluster.queue import queries as listing
from stn_cluster.queue import submit as submission
from stn_cluster.queue.database import connect, connect_reader, transaction
from stn_cluster.queue.jobs import EVERYTHING, CellStatus, Job, JobStatus, Page, job_state
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.totals import Totals


class Queue:
    """Jobs, cells and attempts; every method that changes them returns when it is durable.

    Args:
        folder: on a local disk; the caller keeps other services off it.

        reads_only: for a second one beside, in a thread that only looks things up.

    Raises:
        QueueError: see `connect`.
        sqlite3.OperationalError: of any method, when the disk fails or is full; nothing changed.
    """

    def __init__(self, folder: Path, reads_only: bool = False) -> None:
        self._db = connect_reader(folder) if reads_only else connect(folder)

    def close(self) -> None:
        """Ends its use."""
        self._db.close()

    # --- jobs ---

    def submit(self, job: Job, stored: KnownResults) -> bool:
        """See `submission.submit`."""
        return submission.submit(self._db, job, stored)

    def cancel(self, job_id: str) -> list[str]:
        """See `wishes.cancel`."""
        return wishes.cancel(self._db, job_id)

    def retry(self, job_id: str, stored: KnownResults) -> int:
        """See `wishes.retry`."""
        return wishes.retry(self._db, job_id, stored)

    def jobs(self) -> list[JobStatus]:
        """All jobs, oldest first, without their cells."""
        return [self._status(row)[0] for row in listing.all_jobs(self._db)]

    def job(self, job_id: str) -> tuple[JobStatus, float]:
        """One job without its cells, and the cost of those of them that have not ended.

        Raises:
            UserError: there is no such job.
        """
        return self._status(listing.find_job(self._db, job_id))

    def cells(
        self, job_id: str, page: Page = EVERYTHING
    ) -> tuple[list[tuple[str | None, CellStatus]], int]:
        """See `listing.cells`."""
        number = listing.find_job(self._db, job_id)["number"]
        return listing.cells(self._db, number, page)

    def totals(self) -> Totals:
        """See `listing.totals`."""
        return listing.totals(self._db)

    def unfinished_like(self, job: Job) -> str | None:
        """See `listing.unfinished_like`."""
        return listing.unfinished_like(self._db, job.digest)

    def unrecorded(self) -> list[str]:
        """See `listing.unrecorded`."""
        return listing.unrecorded(self._db)

    def job_record(self, job_id: str) -> dict[str, Any]:
        """See `listing.job_record`."""
        return listing.job_record(self._db, job_id)

    def note_recorded(self, job_id: str) -> None:
        """Notes that the store has the job's record."""
        with transaction(self._db):
            self._db.execute("UPDATE jobs SET recorded = 1 WHERE job_id = ?", (job_id,))

    # --- cells ---

    def demand(self, only: str | None = None) -> list[claims.Demand]:
        """See `claims.demand`."""
        return claims.demand(self._db, only)

    def claim(
        self,
        needs: Needs,
        size: Callable[[Cell], int],
        worker: WorkerInfo,
        only: str | None = None,
    ) -> tuple[claims.Claim, ...]:
        """See `claims.claim`."""
        return claims.claim(self._db, needs, size, worker, only)

    def finish(self, ends: Sequence[StoredResult]) -> list[bool]:
        """See `endings.finish`."""
        return endings.finish(self._db, ends)

    def lose(self, losses: Iterable[endings.Loss]) -> list[str]:
        """See `endings.lose`."""
        return endings.lose(self._db, losses)

    def spent(self) -> list[endings.Spent]:
        """See `endings.spent`."""
        return endings.spent(self._db)

    def note_checkpoint(self, saved: Sequence[Checkpoint]) -> list[tuple[str, Checkpoint]]:
        """See `endings.note_checkpoint`."""
        return endings.note_checkpoint(self._db, saved)

    def recover(self, stored: KnownResults) -> tuple[int, list[tuple[str, str]]]:
        """See `endings.recover`."""
        return endings.recover(self._db, stored)

    def ended(self) -> set[str]:
        """See `listing.ended`."""
        return listing.ended(self._db)

    def attempts(self, name: str) -> list[listing.AttemptRow]:
        """See `listing.attempts`."""
        return listing.attempts(self._db, name)

    def _status(self, row: Any) -> tuple[JobStatus, float]:
        counts, left = listing.counts(self._db, row["number"])
        status = JobStatus(
            job_id=row["job_id"],
            state=job_state(counts, row["cancelled_at"] is not None),
            counts=counts,
            priority=row["priority"],
            submitted_at=datetime.fromisoformat(row["submitted_at"]),
        )
        return status, left
