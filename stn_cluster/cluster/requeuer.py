"""Requeuer: attempts that come to nothing; their cells are queued again, or failed for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.leases import Leases
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.cluster.supervision import Supervisor
from stn_cluster.queue.attempts import AttemptEnd, ExitReason
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.finish import exhausted, requeue
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)


class Requeuer:
    """Takes the leases of lost workers away, and tells the queue.

    Args:
        database: the queue.
        leases: the running attempts.
        results: gets the failures of cells without retries left.
        checkpoints: flushed before a cell is requeued: it resumes from the newest.
        housekeeping: gets lines for logs.
        supervisor: runs the writing to the queue.
        on_requeue: called when cells are in the queue again.
    """

    def __init__(
        self,
        *,
        database: QueueDatabase,
        leases: Leases,
        results: ResultWriter,
        checkpoints: CheckpointRecorder,
        housekeeping: Housekeeping,
        supervisor: Supervisor,
        on_requeue: Callable[[], None],
    ) -> None:
        self._database = database
        self._leases = leases
        self._results = results
        self._checkpoints = checkpoints
        self._housekeeping = housekeeping
        self._supervisor = supervisor
        self._on_requeue = on_requeue
        self._writing: set[asyncio.Task[None]] = set()
        self._failed: set[str] = set()  # exhausted cells' last attempts, on their way to the store

    async def requeue(self, worker: str, reason: ExitReason, message: str) -> None:
        """Queues the cells again that a worker held.

        Args:
            worker: its name.
            reason: how its attempts ended.
            message: why.
        """
        lost = self._leases.end([x.id for x in self._leases.of(worker) if not x.finishing])
        if not lost:
            return
        for lease in lost:
            self._housekeeping.log_line(lease.attempt, f"{reason}: {message}")
            label = lease.attempt.cell.label
            log.warning("%s is queued again: %s: %s", label, reason, message)
        end = AttemptEnd(reason, message)
        # In a task of its own: the caller may be cancelled, and the queue must have it.
        work = self._write({lease.id: end for lease in lost})
        task = self._supervisor.start("requeue cells", work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.shield(task)

    async def fail_exhausted(self) -> None:
        """Hands the failures of cells without retries left to the result writer.

        Raises:
            StoreError: the queue cannot be read.
        """
        for attempt in await self._database.read(exhausted):
            if attempt.id not in self._failed:
                self._failed.add(attempt.id)
                assert attempt.end is not None
                outcome = Outcome(key=attempt.cell.key, error=attempt.end.message)
                self._results.add(Result(attempt, outcome))

    async def flush(self) -> None:
        """Returns when the queue has all that was requeued."""
        await asyncio.gather(*self._writing)

    async def _write(self, ends: Mapping[str, AttemptEnd]) -> None:
        await self._checkpoints.flush()
        await self._database.write_until_done(requeue, ends)
        self._on_requeue()
