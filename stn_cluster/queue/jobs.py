"""Jobs and their status: plain values that pass between client, coordinator and views."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, cell_label, short_hash

JOB_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CellState(StrEnum):
    """State of a cell, and of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether a cell in this state is neither queued nor running."""
        return self not in (CellState.QUEUED, CellState.RUNNING)


@dataclass(frozen=True)
class Job:
    """Cells to run together.

    Raises:
        UserError: the id is not 1 to 64 of A-Z a-z 0-9 . _ -, or there are no cells, or one twice.
    """

    job_id: str
    cells: tuple[Cell, ...]
    name: str = "cells"  # the config's
    config: str = "{}"  # JSON of what was submitted, for the record
    folder: str | None = None  # the config's: plug-ins may be there
    force: bool = False  # train anew what the store already holds
    priority: int = 0  # the larger, the sooner

    def __post_init__(self) -> None:
        if not JOB_ID.fullmatch(self.job_id):
            allowed = "1 to 64 letters, digits, '.', '_' or '-'"
            raise UserError(f"job id {self.job_id!r}: {allowed}", "job_id")
        if not self.cells:
            raise UserError(f"job {self.job_id}: no cells")
        if len({cell.key for cell in self.cells}) < len(self.cells):
            raise UserError(f"job {self.job_id}: a cell is in it twice")
        if not -(2**31) <= self.priority < 2**31:
            raise UserError(
                f"job {self.job_id}: priority {self.priority} is out of range", "priority"
            )

    @property
    def digest(self) -> str:
        """Hash that two jobs share if they ask for the same, whatever their ids."""
        cells = [[cell.key, cell.recipe] for cell in self.cells]
        return short_hash([self.config, cells, self.force, self.priority], digits=32)


def id_prefix(name: str) -> str:
    """A config's name as the beginning of a job's id."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:40]


def new_job_id(name: str) -> str:
    """'quickstart-20260131-184500-1a2b': readable, sorts by age, unique."""
    return f"{id_prefix(name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class CellName:
    """Names of a cell; light enough to be sent of many thousands."""

    key: str
    model: str
    transform: str
    distortion: str
    seed: int
    dataset: str
    recipe: str
    iterations: int  # steps in all

    @classmethod
    def of(cls, cell: Cell) -> CellName:
        """Names of this cell."""
        return cls(**{field.name: getattr(cell, field.name) for field in fields(cls)})

    @property
    def label(self) -> str:
        """See `Cell.label`."""
        return cell_label(self.model, self.transform, self.distortion, self.seed)


@dataclass(frozen=True)
class CellStatus:
    """Status of one cell of a job."""

    cell: CellName
    state: CellState = CellState.QUEUED
    step: int = 0  # steps done
    test_error: float | None = None  # percent, once succeeded, if it was tested
    error: str | None = None  # why it failed
    stored: bool = False  # the store held it before the job began


@dataclass(frozen=True)
class Page:
    """Selection of a job's cells."""

    offset: int = 0  # how many to leave out first
    limit: int = -1  # how many at most; negative: all
    states: tuple[CellState, ...] = ()  # only those in one of these; all if empty
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # by field: wanted values
    since: int = -1  # only those that have changed after this change, or are running


EVERYTHING = Page()


@dataclass(frozen=True)
class JobStatus:
    """Status of a job at one moment."""

    job_id: str
    state: CellState  # running as soon as one of its cells has left the queue
    counts: Mapping[CellState, int]  # of its cells; states without any are left out
    priority: int = 0
    submitted_at: datetime | None = None  # UTC
    workers: int = 0  # of the service, for all its jobs
    images_per_second: float = 0.0  # of the service
    eta_seconds: float | None = None  # None until something has been measured
    trouble: str | None = None  # what keeps the service from going on, while it lasts
    waiting: tuple[str, ...] = ()  # what cells wait for that no present node has
    cells: tuple[CellStatus, ...] = field(default=(), repr=False)  # where asked for

    @property
    def total(self) -> int:
        """Number of its cells."""
        return sum(self.counts.values())

    @property
    def ended(self) -> bool:
        """Whether nothing is queued or running."""
        return self.state.ended


def job_state(counts: Mapping[CellState, int], cancelled: bool) -> CellState:
    """State of a job, from its cells and its cancel mark."""
    here = {state for state, count in counts.items() if count}
    if cancelled:
        return CellState.CANCELLED
    if CellState.QUEUED in here or CellState.RUNNING in here:
        return CellState.QUEUED if here == {CellState.QUEUED} else CellState.RUNNING
    for state in (CellState.FAILED, CellState.CANCELLED):
        if state in here:
            return state
    return CellState.SUCCEEDED


def error_line(error: str) -> str:
    """Line of a traceback that says what went wrong: the last 'SomeError: text'."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b.*: ", line)]
    return (errors or lines or ["unknown"])[-1]


@dataclass(frozen=True)
class Totals:
    """Counts over the whole queue."""

    jobs: int
    cells: Mapping[CellState, int]  # of all jobs; a cell that several want counts once
    attempts: Mapping[str, int]  # ended ones, by exit reason
    tried_cells: int  # cells that have been tried at least once
    waited_seconds: float  # of all those: from the submission of the job to the first attempt


@dataclass(frozen=True)
class Metrics:
    """The service in numbers, at one moment."""

    totals: Totals
    workers: int  # that have started
    images_per_second: float  # of training, all workers together
    degraded: bool  # something keeps it from going on
