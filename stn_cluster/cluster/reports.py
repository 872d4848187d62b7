"""Report handler: processes progress, checkpoints, results and log lines from workers."""

from __future__ import annotations

import logging
import time

from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.cluster.stalls import seen
from stn_cluster.cluster.throughput import Throughput
from stn_cluster.cluster.worker_pool import WorkerPool
from stn_cluster.errors import error_line
from stn_cluster.plain_text import one_line
from stn_cluster.queue.attempts import Checkpoint
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)


class ReportHandler:
    """Accepts reports only for attempts that the worker holds a lease on.

    It never waits: if a heartbeat waited for a disk, the worker could lose its lease.

    Args:
        leases: renewed by heartbeats.
        pool: the workers.
        throughput: counts the steps.
        results: writes results.
        checkpoints: records new checkpoints.
        housekeeping: writes log lines.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        pool: WorkerPool,
        throughput: Throughput,
        results: ResultWriter,
        checkpoints: CheckpointRecorder,
        housekeeping: Housekeeping,
    ) -> None:
        self._leases = leases
        self._pool = pool
        self._throughput = throughput
        self._results = results
        self._checkpoints = checkpoints
        self._housekeeping = housekeeping

    def handle(self, worker: str, report: Report) -> set[str]:
        """Handles a report; returns the attempts that the worker has no lease on any more."""
        now = time.monotonic()
        begins = report.started and not self._leases.training and self._throughput.paused(now)
        for attempt, step in report.started.items():
            if lease := self._leases.get(attempt):
                lease.started = True
                lease.step = max(lease.step, step)  # steps before the checkpoint are not counted
        before = {lease.id: lease.step for lease in self._leases.of(worker)}
        lost = self._leases.renew(worker, report.steps, now)
        for attempt, step in before.items():
            if lease := self._leases.get(attempt):
                self._count(lease, step, now)
        if begins:  # the time in which nothing was trained, or it was loaded, does not count
            self._throughput.begin(now)
        for attempt, text in report.log.items():
            lease = self._leases.get(attempt)
            if lease and not (lease.finishing and attempt in report.ended):  # reported twice
                self._housekeeping.log(lease.attempt, text)
        self._record_checkpoints(worker, report)  # before results, which depend on lease.saved
        for attempt, outcome in report.ended.items():
            self._accept(worker, attempt, outcome)
        if handle := self._pool.workers.get(worker):
            handle.heard_at = now
            handle.degraded_reason = report.degraded_reason
            handle.stall = seen(report.stall, handle.stall, now)
            requested_at = handle.cancel_requested_at
            handle.cancel_requested_at = {a: requested_at.get(a, now) for a in lost}
        return lost

    def _record_checkpoints(self, worker: str, report: Report) -> None:
        """Records new checkpoints of attempts that are still training.

        Others are ignored: a report may be sent twice, and by then its checkpoints may be removed.
        """
        for lease in self._leases.of(worker):
            step = report.saved.get(lease.id)
            if step is None or lease.finishing:
                continue
            if lease.saved is None or step > lease.saved:
                lease.saved = step
                self._checkpoints.add(lease.attempt.cell.key, Checkpoint(lease.id, step))

    def _count(self, lease: Lease, before: int, now: float) -> None:
        """Counts the steps that a cell has done since step `before`."""
        if lease.step > before:
            self._throughput.add(lease.attempt.item, lease.step - before, now)

    def _accept(self, worker: str, attempt: str, outcome: Outcome) -> None:
        """Accepts a result, if the worker holds the attempt's lease."""
        if outcome.labels is not None:  # even of a refused result, as later ones omit the labels
            self._results.add_labels(outcome.labels)
        lease, handle = self._leases.get(attempt), self._pool.workers.get(worker)
        if handle and attempt in handle.accepted:  # reported twice, as our response was lost
            return
        if lease is None or lease.worker != worker:
            log.warning("late result of %s refused (attempt %s)", outcome.key, attempt)
            return
        if lease.finishing:
            return
        lease.finishing = True
        if handle:
            handle.accepted.add(attempt)
        if outcome.error is None:
            before, lease.step = lease.step, lease.attempt.item.iterations
            self._count(lease, before, time.monotonic())
            text = "trained and tested" if lease.attempt.evaluation is None else "evaluated"
        else:
            text = f"failed: {outcome.error}"
            label = one_line(lease.attempt.item.label)
            log.warning("%s failed: %s", label, error_line(outcome.error))
        self._housekeeping.log_line(lease.attempt, text)
        without_state = lease.attempt.is_first and lease.saved is None
        self._results.add(Result(lease.attempt, outcome, without_state))
