"""Leases: running attempts, their workers, their progress and the deadlines of their heartbeats.

Deadlines depend only on this process's monotonic clock, never on other machines' clocks.
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
    deadline: float  # seconds on the monotonic clock
    step: int = 0  # steps done
    started: bool = False  # whether its data and model are there, so that it trains
    saved: int | None = None  # step of its newest checkpoint in the store
    finishing: bool = False  # its result is being written, so that it cannot be lost any more

    @property
    def id(self) -> str:
        """Id of the attempt, the fencing token."""
        return self.attempt.id


class Leases:
    """Leases of all running attempts, by id.

    Args:
        seconds: duration of a lease: the longest time without a heartbeat.
        scan_seconds: time between two calls of `expired`.
    """

    def __init__(self, seconds: float, scan_seconds: float) -> None:
        self.seconds = seconds
        self.scan_seconds = scan_seconds
        self._leases: dict[str, Lease] = {}
        self._scanned: float | None = None

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def training(self) -> bool:
        """Whether a cell is in training or tested, and not only loaded."""
        return any(lease.started and not lease.finishing for lease in self._leases.values())

    def grant(self, lease: Lease) -> None:
        """Adds the lease of an attempt that starts."""
        self._leases[lease.id] = lease

    def get(self, attempt: str | None) -> Lease | None:
        """Lease of an attempt, or None if it does not run."""
        return self._leases.get(attempt) if attempt else None

    def of(self, worker: str) -> list[Lease]:
        """Leases of a worker."""
        return [lease for lease in self._leases.values() if lease.worker == worker]

    def work_done(self, job_id: str) -> float:
        """Cost of the work that a job's running cells have done so far."""
        running = [lease for lease in self._leases.values() if lease.attempt.job_id == job_id]
        return sum(
            lease.attempt.item.cost * lease.step / max(1, lease.attempt.item.iterations)
            for lease in running
        )

    def renew(self, worker: str, steps: Mapping[str, int], now: float) -> set[str]:
        """Renews a worker's leases after a heartbeat.

        Args:
            worker: name of the worker.
            steps: steps done, by attempt.
            now: seconds on the monotonic clock.

        Returns:
            Attempts that the worker holds no lease on.
        """
        for own in self.of(worker):
            own.deadline = now + self.seconds
        lost = set()
        for attempt, step in steps.items():
            lease = self._leases.get(attempt)
            if lease is None or lease.worker != worker:
                lost.add(attempt)
            else:
                lease.step = max(lease.step, step)
        return lost

    def end(self, attempts: Iterable[str]) -> list[Lease]:
        """Ends leases; returns those that existed."""
        return [lease for a in attempts if (lease := self._leases.pop(a, None)) is not None]

    def expired(self, now: float) -> list[Lease]:
        """Leases past their deadline. Must be called every `scan_seconds`.

        If a call is late, this process itself was blocked, and heartbeats may wait unread: the
        delay is added to all deadlines.
        """
        late = now - self._scanned - self.scan_seconds if self._scanned is not None else 0.0
        self._scanned = now
        if late > self.scan_seconds:
            for lease in self._leases.values():
                lease.deadline += late
        return [
            lease for lease in self._leases.values() if lease.deadline < now and not lease.finishing
        ]
