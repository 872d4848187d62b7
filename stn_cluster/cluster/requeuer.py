"""Requeuer: requeues the cells of lost attempts, or fails them if their retries are exhausted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from stn_cluster.cluster.attempt_log import lines_after_death
from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.cluster.supervision import Supervisor
from stn_cluster.queue.attempts import Attempt, AttemptEnd, ExitReason
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.finish import exhausted, requeue
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)


class Requeuer:
    """Ends the leases of lost workers, and requeues their cells.

    Args:
        database: the queue.
        leases: leases of the running attempts.
        results: writes the failures of cells whose retries are exhausted.
        checkpoints: flushed before a cell is requeued, so that it resumes from the newest one.
        housekeeping: writes log lines.
        supervisor: runs the task that writes to the queue.
        last_output: reads what a dead worker printed last, by its name and node; see
            `WorkerPool.last_output`.
        on_requeue: called after cells were requeued.
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
        last_output: Callable[[str, str], Awaitable[Mapping[str, bytes]]],
        on_requeue: Callable[[], None],
    ) -> None:
        self._database = database
        self._leases = leases
        self._results = results
        self._checkpoints = checkpoints
        self._housekeeping = housekeeping
        self._supervisor = supervisor
        self._last_output = last_output
        self._on_requeue = on_requeue
        self._writing: set[asyncio.Task[None]] = set()
        self._failed: set[str] = set()  # last attempts whose failure was given to the result writer

    async def requeue(
        self,
        worker: str,
        reason: ExitReason,
        message: str,
        others: Mapping[str, AttemptEnd] | None = None,
    ) -> None:
        """Requeues the cells of a worker, and waits until they are in the queue; see `begin`."""
        if task := self.begin(worker, reason, message, others):
            await asyncio.shield(task)

    def begin(
        self,
        worker: str,
        reason: ExitReason,
        message: str,
        others: Mapping[str, AttemptEnd] | None = None,
    ) -> asyncio.Task[None] | None:
        """Ends the leases of a worker and begins to requeue its cells; see `flush`.

        Args:
            worker: name of the worker.
            reason: exit reason of its attempts.
            message: explanation for people.
            others: ends of attempts that end otherwise, by id.

        Returns:
            The task that updates the queue; None if the worker had no cells.
        """
        lost = self._leases.end([x.id for x in self._leases.of(worker) if not x.finishing])
        if not lost:
            return None
        end = AttemptEnd(reason, message)
        ends = {lease.id: (others or {}).get(lease.id, end) for lease in lost}
        # In its own task, as the caller may be cancelled before the queue is updated.
        task = self._supervisor.start("requeue cells", self._requeue(worker, lost, ends))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _requeue(
        self, worker: str, lost: Sequence[Lease], ends: Mapping[str, AttemptEnd]
    ) -> None:
        attempts = [lease.attempt for lease in lost]
        texts: Mapping[str, str] = {}
        quiet = (ExitReason.NODE_LOST, ExitReason.INTERRUPTED)
        if any(end.reason not in quiet for end in ends.values()):
            # Now, as this end may be the last one, which ends the job and with it the service.
            output = await self._last_output(worker, attempts[0].worker.node)
            texts = lines_after_death(output, [attempt.id for attempt in attempts])
        for attempt in attempts:
            end = ends[attempt.id]
            if text := texts.get(attempt.id):
                self._housekeeping.log(attempt, text)
            self._housekeeping.log_line(attempt, f"{end.reason}: {end.message}")
            log.warning("%s is requeued: %s: %s", attempt.item.label, end.reason, end.message)
        await self._write(ends)

    async def return_claimed(self, pack: Sequence[Attempt]) -> None:
        """Queues cells again that were claimed and never handed to a worker."""
        if pack:
            end = AttemptEnd(ExitReason.INTERRUPTED, "its worker was ended before it had the cell")
            await self._write({attempt.id: end for attempt in pack})

    async def fail_exhausted(self) -> None:
        """Gives the failures of cells whose retries are exhausted to the result writer.

        Raises:
            StoreError: the queue cannot be read.
        """
        for attempt in await self._database.read(exhausted):
            if attempt.id not in self._failed:
                self._failed.add(attempt.id)
                assert attempt.end is not None
                outcome = Outcome(key=attempt.item.key, error=attempt.end.message)
                self._results.add(Result(attempt, outcome))

    async def flush(self) -> None:
        """Returns when all requeued cells are in the queue."""
        await asyncio.gather(*self._writing)

    async def _write(self, ends: Mapping[str, AttemptEnd]) -> None:
        await self._checkpoints.flush()
        await self._database.write_until_done(requeue, ends)
        self._on_requeue()
