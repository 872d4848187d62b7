"""Leases: which attempts run where, how far they are, and the deadlines of their heartbeats.

Leases are timed by receipt, on this process's monotonic clock: no other machine's clock counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stn_cluster.queue.attempts import Attempt


@dataclass
class Lease:
    """A worker's hold on one running attempt."""

    attempt: Attempt
    worker: str  # the worker's name
    deadline: float  # seconds on the clock
    step: int = 0  # steps done
    saved: int | None = None  # step of its newest checkpoint in the store
    finishing: bool = False  # its result is being written: nothing can take it away any more

    @property
    def id(self) -> str:
        """The attempt's id, the fencing token."""
        return self.attempt.id


class Leases:
    """All running attempts, by id.

    Args:
        seconds: how long a worker may send no heartbeat.
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
        """Notes that an attempt runs."""
        self._leases[lease.id] = lease

    def get(self, attempt: str | None) -> Lease | None:
        """An attempt's lease while it runs."""
        return self._leases.get(attempt) if attempt else None

    def of(self, worker: str) -> list[Lease]:
        """The leases that a worker holds."""
        return [lease for lease in self._leases.values() if lease.worker == worker]

    def work_done(self, job_id: str) -> float:
        """The part of the running cells' costs that is behind them, for one job's."""
        running = [lease for lease in self._leases.values() if lease.attempt.job_id == job_id]
        return sum(
            lease.attempt.cell.cost * lease.step / lease.attempt.cell.iterations
            for lease in running
        )

    def renew(self, worker: str, steps: Mapping[str, int], now: float) -> set[str]:
        """Takes a worker's heartbeat.

        Args:
            worker: its name.
            steps: steps done, by attempt.
            now: seconds on the clock.

        Returns:
            Those of the attempts that it holds no lease on.
        """
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

        If that did not happen this process itself was held up, and heartbeats wait unread: what it
        missed is added to every lease.
        """
        late = now - self._scanned - self.scan_seconds if self._scanned is not None else 0.0
        self._scanned = now
        if late > self.scan_seconds:
            for lease in self._leases.values():
                lease.deadline += late
        return [
            lease for lease in self._leases.values() if lease.deadline < now and not lease.finishing
        ]
