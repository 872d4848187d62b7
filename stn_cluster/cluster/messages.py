"""What coordinator and workers tell each other: plain values, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from stn_cluster.grid import Cell
from stn_cluster.training.outcome import Outcome

STATE = "state.pt"  # the checkpoint that an interrupted cell goes on from
WEIGHTS = "weights.pt"  # the one that a trained cell leaves


@dataclass(frozen=True)
class Assignment:
    """One cell to train, as one attempt."""

    cell: Cell
    attempt: str
    resume: str | None = None  # the attempt whose checkpoint it goes on from


@dataclass(frozen=True)
class Report:
    """What a worker says now and then while it trains a pack."""

    steps: dict[str, int]  # steps done, by key, of the cells still in training
    ended: tuple[Outcome, ...] = ()
    first: bool = False  # before any step: the steps are those of checkpoints


@dataclass(frozen=True)
class WorkerInfo:
    """Where a worker runs, for the record of its results."""

    host: str
    device: str
    torch_version: str


def utc_now() -> datetime:
    """The time for records."""
    return datetime.now(UTC)
