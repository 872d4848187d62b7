"""An attempt: one try at a cell, from the moment it is handed to a worker until it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from stn_cluster.grid import Cell

WEIGHTS = "weights.pt"  # file name of the checkpoint that a trained cell leaves


class ExitReason(StrEnum):
    """Kind of an attempt's end."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # its own code raised, or its loss is not finite
    DIED = "died"  # its worker's process or device did
    EXPIRED = "expired"  # its worker sent no heartbeat for a lease
    NODE_LOST = "node lost"
    COORDINATOR_LOST = "coordinator lost"
    INTERRUPTED = "interrupted"  # the service was stopped
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class WorkerInfo:
    """Place where a worker runs."""

    host: str
    device: str
    torch_version: str
    node: str = ""  # Ray's id of it
    process: int = 0  # its id there


@dataclass(frozen=True)
class Checkpoint:
    """Training state in the store. Never overwritten: a later step is another file."""

    attempt: str
    step: int  # steps done

    @property
    def name(self) -> str:
        """File name in the attempt's folder."""
        return f"state-{self.step:09d}.pt"


@dataclass(frozen=True)
class AttemptEnd:
    """End of an attempt: how and why."""

    reason: ExitReason
    message: str | None = None  # for people; None where the reason says it all
    counts: bool = False  # towards the failures that a cell may have
    at: datetime | None = None  # UTC; None until the queue has it


@dataclass(frozen=True)
class Attempt:
    """One try at a cell."""

    id: str  # a UUID, never reused: the fencing token
    cell: Cell
    job_id: str  # the job that it is trained for
    pack_size: int
    worker: WorkerInfo
    started_at: datetime  # UTC
    resume_from: Checkpoint | None = None  # said when it is claimed, as the next: no history
    is_first: bool = False  # nobody has tried the cell before
    end: AttemptEnd | None = None  # None while it runs


def utc_now() -> datetime:
    """Current time, for records."""
    return datetime.now(UTC)
