"""What coordinator and workers tell each other: plain values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stn_cluster.grid import Cell
from stn_cluster.training.outcome import Outcome

WEIGHTS = "weights.pt"  # the checkpoint that a trained cell leaves


@dataclass(frozen=True)
class Checkpoint:
    """Training state in the store. Never overwritten: a later step is another file."""

    attempt: str
    step: int  # steps done

    @property
    def name(self) -> str:
        """Its file's name in the attempt's folder."""
        return f"state-{self.step:09d}.pt"


@dataclass(frozen=True)
class Assignment:
    """One cell to train, as one attempt."""

    cell: Cell
    attempt: str  # a UUID, never reused: only the cell's current one may end it
    resume: Checkpoint | None = None  # what it goes on from


@dataclass(frozen=True)
class Report:
    """What a worker says while it trains a pack; all by attempt."""

    steps: Mapping[str, int] = field(default_factory=dict)  # steps done, of those in training
    began: Mapping[str, int] = field(default_factory=dict)  # the same, when they began
    saved: Mapping[str, int] = field(default_factory=dict)  # steps of their newest checkpoints
    ended: Mapping[str, Outcome] = field(default_factory=dict)
    log: Mapping[str, str] = field(default_factory=dict)  # new lines for their logs
    trouble: str | None = None  # what keeps the worker from the store, while it lasts


@dataclass(frozen=True)
class WorkerInfo:
    """Where a worker runs."""

    host: str
    device: str
    torch_version: str
    node: str = ""  # Ray's id of it
    process: int = 0  # its id there


def utc_now() -> datetime:
    """The time for records."""
    return datetime.now(UTC)
