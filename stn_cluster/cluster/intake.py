"""What workers say: how far their cells are, checkpoints, results."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from stn_cluster.cluster.crew import Crew
from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.ledger import Ledger, Result
from stn_cluster.cluster.messages import Checkpoint, Report, WorkerInfo
from stn_cluster.cluster.rate import Rate
from stn_cluster.cluster.record import Attempt
from stn_cluster.faults import reach
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)

# Names checkpoints in the queue; returns those that they replace, with their cells' keys.
NameCheckpoints = Callable[[Sequence[Checkpoint]], Awaitable[list[tuple[str, Checkpoint]]]]


class Intake:
    """Takes the word of workers for the attempts that are theirs, and for no others.

    Args:
        leases: which those are.
        crew: the workers.
        ledger: gets results and lines for logs.
        rate: gets the steps that were done.
        name_checkpoints: makes checkpoints those that are gone on from.
    """

    def __init__(
        self,
        leases: Leases,
        crew: Crew,
        ledger: Ledger,
        rate: Rate,
        name_checkpoints: NameCheckpoints,
    ) -> None:
        self._leases = leases
        self._crew = crew
        self._ledger = ledger
        self._rate = rate
        self._name_checkpoints = name_checkpoints

    async def report(self, worker: str, report: Report) -> set[str]:
        """Takes a worker's word; returns its attempts that are not its any more."""
        now = time.monotonic()
        for attempt, step in report.began.items():
            if lease := self._leases.get(attempt):
                lease.step = step  # what a checkpoint brought was not done now
        steps = {lease.attempt: lease.step for lease in self._leases.of(worker)}
        lost = self._leases.heard(worker, report.steps, now)
        for attempt, step in steps.items():
            self._count(attempt, step, now)
        for attempt, text in report.log.items():
            if lease := self._leases.get(attempt):
                self._ledger.log(lease.cell.key, attempt, text)
        saved = self._new_checkpoints(worker, report)  # first: results are told of them
        for attempt, outcome in report.ended.items():
            self._take(worker, attempt, outcome)
        if saved:
            replaced = await self._name_checkpoints(saved)
            reach("checkpoint-noted")
            self._ledger.drop(replaced)
        if member := self._crew.members.get(worker):
            member.heard_at = now
            member.trouble = report.trouble
            member.dropping = {attempt: member.dropping.get(attempt, now) for attempt in lost}
        return lost

    def _new_checkpoints(self, worker: str, report: Report) -> list[Checkpoint]:
        """Those that were not heard of before, of attempts that are still in training."""
        new = []
        for lease in self._leases.of(worker):
            step = report.saved.get(lease.attempt)
            if step is not None and step != lease.saved and not lease.ending:
                lease.saved = step
                new.append(Checkpoint(lease.attempt, step))
        return new

    def _count(self, attempt: str, before: int, now: float) -> None:
        """Counts the steps that a cell has done since it was at `before`."""
        lease = self._leases.get(attempt)
        if lease is not None and lease.step > before:
            cell = lease.cell
            batch_size = int(str(cell.settings["batch_size"]))
            self._rate.add(lease.step - before, cell.iterations, batch_size, cell.cost, now)

    def _take(self, worker: str, attempt: str, outcome: Outcome) -> None:
        """Takes a result, if the attempt is still its cell's and the worker's."""
        if outcome.labels is not None:  # of a refused result, too: those after it go without
            self._ledger.note(outcome.labels)
        lease = self._leases.get(attempt)
        if lease is None or lease.worker != worker:
            log.warning("late result of %s refused (attempt %s)", outcome.key, attempt)
            return
        if lease.ending:  # said twice, as our answer was lost
            return
        lease.ending = True
        if outcome.error is None:
            before, lease.step = lease.step, lease.cell.iterations
            self._count(attempt, before, time.monotonic())
            text = "trained and tested"
        else:
            text = f"failed: {outcome.error}"
            log.warning("%s failed: %s", lease.cell.label, outcome.error)
        self._ledger.log_line(lease.cell.key, attempt, text)
        member = self._crew.members.get(worker)
        info = member.info if member and member.info else WorkerInfo("", "", "")
        clean = lease.claim.first and lease.saved is None
        self._ledger.add(Result(_attempt(lease, info), outcome, clean))


def _attempt(lease: Lease, info: WorkerInfo) -> Attempt:
    return Attempt(
        job_id=lease.claim.job_id,
        cell=lease.cell,
        attempt=lease.attempt,
        started_at=lease.started_at,
        worker=info,
        pack_size=lease.claim.pack_size,
    )
