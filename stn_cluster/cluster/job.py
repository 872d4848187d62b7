"""A job and where it stands: plain values that pass between client, coordinator and views."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from stn_cluster.grid import Cell


class State(StrEnum):
    """Of a cell in a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """Cells to run together."""

    job_id: str
    cells: tuple[Cell, ...]
    config: str = "{}"  # JSON of what was submitted, for the record
    folder: str | None = None  # the config's: plug-ins may be there
    force: bool = False  # train anew what the store already holds


def new_job_id(name: str) -> str:
    """'quickstart-20260131-184500-1a2b': readable, sorts by age, unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:40]
    return f"{plain}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class CellStatus:
    """One cell of a job."""

    cell: Cell
    state: State = State.QUEUED
    step: int = 0  # steps done
    iterations: int = 1  # steps in all
    test_error: float | None = None  # percent, once succeeded
    error: str | None = None  # why it failed
    stored: bool = False  # the store held it before the job began

    def now(self, state: State, **fields: object) -> CellStatus:
        """The same cell in another state."""
        return replace(self, state=state, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment."""

    job_id: str
    cells: tuple[CellStatus, ...]
    workers: int = 0
    images_per_second: float = 0.0
    eta_seconds: float | None = None  # None until something has been measured
    trouble: str | None = None  # what keeps results from being written, while it lasts

    @property
    def counts(self) -> Counter[State]:
        """How many cells are in each state."""
        return Counter(status.state for status in self.cells)

    @property
    def ended(self) -> bool:
        """Whether nothing is queued or running."""
        return all(done(status.state) for status in self.cells)


def done(state: State) -> bool:
    """Whether a cell in this state has ended."""
    return state in (State.SUCCEEDED, State.FAILED)


def reason(error: str) -> str:
    """The line of a traceback that says what went wrong: the last 'SomeError: text'."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b.*: ", line)]
    return (errors or lines or ["unknown"])[-1]


def labels(cells: Iterable[Cell]) -> str:
    """'FCN/none/R/seed0, CNN/none/R/seed0'."""
    return ", ".join(cell.label for cell in cells)
