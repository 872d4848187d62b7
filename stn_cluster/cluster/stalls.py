"""Stalls: packs whose code makes no progress although their workers send heartbeats.

Whose code runs is known, so that the cell that hangs can be told from those beside it. Times are
seconds on the coordinator's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stn_cluster.cluster.leases import Lease
from stn_cluster.cluster.protocol import Stall
from stn_cluster.cluster.settings import Settings
from stn_cluster.evaluations import WorkItem
from stn_cluster.queue.attempts import AttemptEnd, ExitReason, WorkerInfo, utc_now

NOTICE_SECONDS = 180.0  # without progress, and people are told
SAME_SECONDS = 1.0  # two reports of one stall differ by less in when it began
MAX_LABELS = 3  # in a line


@dataclass(frozen=True)
class StalledPack:
    """A pack without progress, since when."""

    what: str
    keys: tuple[str, ...]
    since: float
    at: datetime  # the same in UTC, for people


def seen(stall: Stall | None, before: StalledPack | None, now: float) -> StalledPack | None:
    """The stall of a report; the one of the report before if it goes on, with the same time."""
    if stall is None:
        return None
    since = now - stall.seconds
    if (
        before is not None
        and (stall.what, stall.keys) == (before.what, before.keys)
        and abs(since - before.since) < SAME_SECONDS
    ):
        return before
    return StalledPack(stall.what, stall.keys, since, utc_now() - timedelta(seconds=stall.seconds))


def limit(cells: Iterable[WorkItem], settings: Settings) -> float:
    """Seconds without progress after which the worker of these cells is ended."""
    own = (cell.no_progress_seconds or settings.no_progress_seconds for cell in cells)
    return min(own, default=settings.no_progress_seconds)


def notice(limit: float) -> float:
    """Seconds without progress after which people are told."""
    return min(NOTICE_SECONDS, limit / 10)


def limit_of(stalled: StalledPack, leases: Sequence[Lease], settings: Settings) -> float:
    """Limit of the cells whose code runs, of a worker's `leases`; of all, if it is no cell's."""
    return limit((lease.attempt.item for lease in _running(stalled, leases) or leases), settings)


def ends(stalled: StalledPack, leases: Sequence[Lease], limit: float) -> Mapping[str, AttemptEnd]:
    """How the attempts of a pack end whose worker is ended, by id.

    The cell whose code ran is charged. If several share it, each of them goes on alone. Pack mates
    go on elsewhere.
    """
    running = _running(stalled, leases)
    without = f"no progress for {duration(limit)}"
    hung = AttemptEnd(
        ExitReason.HUNG, f"{without} while it {stalled.what}", counts=len(running) == 1
    )
    reason = f"{_labels(running)} made {without}" if running else f"it made {without}"
    ended = AttemptEnd(ExitReason.INTERRUPTED, f"its worker was ended, as {reason}")
    return {lease.id: hung if lease in running else ended for lease in leases}


def line(stalled: StalledPack, leases: Sequence[Lease], worker: WorkerInfo, limit: float) -> str:
    """One line for people about a pack without progress; the same as long as that lasts."""
    whose = _labels(_running(stalled, leases) or leases)
    return (
        f"no progress since {stalled.at:%H:%M:%S} UTC: {whose}: it {stalled.what}, on "
        f"{worker.host}, process {worker.process}; its worker is ended after {duration(limit)} "
        "without any"
    )


def duration(seconds: float) -> str:
    """A time that people have set: '30 min', '45 s'."""
    return f"{seconds:g} s" if seconds < 120 or seconds % 6 else f"{seconds / 60:g} min"


def _running(stalled: StalledPack, leases: Sequence[Lease]) -> list[Lease]:
    """Leases of the cells whose code runs."""
    return [lease for lease in leases if lease.attempt.item.key in stalled.keys]


def _labels(leases: Sequence[Lease]) -> str:
    labels = [lease.attempt.item.label for lease in leases]
    more = [f"{len(labels) - MAX_LABELS} more"] if len(labels) > MAX_LABELS else []
    return ", ".join([*labels[:MAX_LABELS], *more])
