"""An attempt: one try at a work item, from the moment a worker gets it until it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from stn_cluster.evaluations import Evaluation, WorkItem
from stn_cluster.grid import Cell

WEIGHTS = "weights.pt"  # file name of a trained cell's last checkpoint


class ExitReason(StrEnum):
    """Reason why an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the cell's own code raised, or its loss is not finite
    DIED = "died"  # the worker's process or device died
    EXPIRED = "expired"  # the worker sent no heartbeat for the duration of a lease
    HUNG = "hung"  # the cell's own code made no progress, though the worker sent heartbeats
    NODE_LOST = "node lost"
    COORDINATOR_LOST = "coordinator lost"
    INTERRUPTED = "interrupted"  # the service was stopped
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class WorkerInfo:
    """Host, device and process of a worker."""

    host: str
    device: str
    torch_version: str
    node: str = ""  # Ray's node id
    process: int = 0  # process id


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in the store. It is never overwritten: a later step has another file."""

    attempt: str
    step: int  # steps done

    @property
    def name(self) -> str:
        """File name in the attempt's folder."""
        return f"state-{self.step:09d}.pt"


@dataclass(frozen=True)
class AttemptEnd:
    """End of an attempt: reason, message and time."""

    reason: ExitReason
    message: str | None = None  # for people; None if the reason is enough
    counts: bool = False  # whether it counts as a failure of the cell
    at: datetime | None = None  # UTC; None until it is in the queue


@dataclass(frozen=True)
class Attempt:
    """One try at a work item: at training a cell, or at an evaluation."""

    id: str  # a UUID, never reused: the fencing token
    cell: Cell  # the cell that it trains, or evaluates
    job_id: str  # the job that it is trained for
    pack_size: int
    worker: WorkerInfo
    started_at: datetime  # UTC
    resume_from: Checkpoint | None = None  # set only when claimed, like the next: not in history
    is_first: bool = False  # whether it is the first attempt at the cell
    end: AttemptEnd | None = None  # None while it runs
    evaluation: Evaluation | None = None  # None: it trains the cell
    weights_attempt: str | None = None  # of an evaluation: the attempt whose weights it is of

    @property
    def item(self) -> WorkItem:
        """What the queue has it for: the evaluation, or else the cell."""
        return self.evaluation or self.cell

    def __repr__(self) -> str:
        end = self.end.reason.value if self.end else "running"
        return f"Attempt({self.id!r}, {self.item.label}, {end} on {self.worker.host!r})"


def utc_now() -> datetime:
    """Current time, for records."""
    return datetime.now(UTC)
