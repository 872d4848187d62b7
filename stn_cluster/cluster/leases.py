"""Which attempts run where, how far they are, and until when silence is forgiven.

Leases are timed by receipt, on this process's monotonic clock: no other machine's clock counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stn_cluster.cluster.protocol import utc_now
from stn_cluster.grid import Cell
from stn_cluster.queue import Claim


@dataclass
class Lease:
    """One running attempt."""

    claim: Claim
    worker: str  # the worker's name
    deadline: float  # seconds on the clock
    step: int = 0  # steps done
    saved: int | None = None  # step of its newest checkpoint in the store
    ending: bool = False  # its result is being written: nothing can take it away any more
    started_at: datetime = field(default_factory=utc_now)

    @property
    def attempt(self) -> str:
        """The fencing token."""
        return self.claim.assignment.attempt

    @property
    def cell(self) -> Cell:
        """What is trained."""
        return self.claim.assignment.cell


class Leases:
    """All running attempts, by attempt.

    Args:
        seconds: how long a worker may be silent.
        scan_seconds: between two looks at the clock.
    """

    def __init__(self, seconds: float, scan_seconds: float) -> None:
        self.seconds = seconds
        self.scan_seconds = scan_seconds
        self._leases: dict[str, Lease] = {}
        self._scanned: float | None = None

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, lease: Lease) -> None:
        """An attempt begins."""
        self._leases[lease.attempt] = lease

    def get(self, attempt: str | None) -> Lease | None:
        """An attempt's lease while it runs."""
        return self._leases.get(attempt) if attempt else None

    def of(self, worker: str) -> list[Lease]:
        """What a worker holds."""
        return [lease for lease in self._leases.values() if lease.worker == worker]

    def work_done(self, job_id: str) -> float:
        """The part of the running cells' costs that is behind them, for one job's."""
        mine = [lease for lease in self._leases.values() if lease.claim.job_id == job_id]
        return sum(lease.cell.cost * lease.step / lease.cell.iterations for lease in mine)

    def heard(self, worker: str, steps: Mapping[str, int], now: float) -> set[str]:
        """A worker tells where its attempts stand; returns those of them that are not its own."""
        for lease in self.of(worker):
            lease.deadline = now + self.seconds
        lost = set()
        for attempt, step in steps.items():
            held = self._leases.get(attempt)
            if held is None or held.worker != worker:
                lost.add(attempt)
            else:
                held.step = max(held.step, step)
        return lost

    def end(self, attempts: Iterable[str]) -> list[Lease]:
        """Takes leases away; those that were there."""
        return [lease for a in attempts if (lease := self._leases.pop(a, None)) is not None]

    def expired(self, now: float) -> list[Lease]:
        """Leases past their deadline. Called every `scan_seconds`.

        If that did not happen this process itself was held up, and the beats wait unread: what it
        missed is added to every lease.
        """
        late = now - self._scanned - self.scan_seconds if self._scanned is not None else 0.0
        self._scanned = now
        if late > self.scan_seconds:
            for lease in self._leases.values():
                lease.deadline += late
        return [
            lease for lease in self._leases.values() if lease.deadline < now and not lease.ending
        ]
