"""Messages from a worker to the coordinator: plain values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stn_cluster.training.outcome import Outcome


@dataclass(frozen=True)
class Report:
    """Progress of a pack since the last report; all by attempt."""

    steps: Mapping[str, int] = field(default_factory=dict)  # steps done, of those in training
    started: Mapping[str, int] = field(default_factory=dict)  # the same, when they started
    saved: Mapping[str, int] = field(default_factory=dict)  # steps of their newest checkpoints
    ended: Mapping[str, Outcome] = field(default_factory=dict)
    log: Mapping[str, str] = field(default_factory=dict)  # new lines for their logs
    degraded_reason: str | None = None  # why the worker cannot reach the store, while it lasts
