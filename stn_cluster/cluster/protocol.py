"""Messages from a worker to the coordinator: plain values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stn_cluster.training.outcome import Outcome


@dataclass(frozen=True)
class Stall:
    """A pack that has not made any progress for a while."""

    seconds: float  # since its last progress
    what: str  # what it is doing meanwhile: see `stn_cluster.training.activity.Doing`
    keys: tuple[str, ...]  # of the cells whose code runs; empty if it is no cell's


@dataclass(frozen=True)
class Report:
    """Progress of a pack since the last report; all mappings are by attempt id."""

    steps: Mapping[str, int] = field(default_factory=dict)  # steps done, of running attempts
    started: Mapping[str, int] = field(default_factory=dict)  # steps at the start (resumed: > 0)
    saved: Mapping[str, int] = field(default_factory=dict)  # steps of the newest checkpoints
    ended: Mapping[str, Outcome] = field(default_factory=dict)
    log: Mapping[str, str] = field(default_factory=dict)  # new log lines
    degraded_reason: str | None = None  # why the worker cannot reach the store; None if it can
    stall: Stall | None = None  # None while there is progress
