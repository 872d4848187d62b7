"""Jobs and their status: plain values for clients, coordinator and views."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from stn_cluster.errors import UserError
from stn_cluster.evaluations import Evaluation, WorkItem
from stn_cluster.grid import Cell, cell_label, short_hash
from stn_cluster.notebook_html import html_fields, html_rows

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


_CELL_COLUMNS = ("cell", "state", "steps", "test error in %", "error")  # in a notebook


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
    """Cells and evaluations that were submitted together.

    Evaluations of its own cells wait until these are trained; of others, they are of the newest
    weights in the store.

    Raises:
        UserError: the id is malformed, or there are no cells, or one twice.
    """

    job_id: str
    cells: tuple[Cell, ...]
    name: str = "cells"  # name of the config
    config: str = "{}"  # the submitted config as JSON, for the job's record
    folder: str | None = None  # folder of the config, where plug-ins may be
    force: bool = False  # train cells again that the store already has
    priority: int = 0  # jobs with a higher priority go first
    left_out: str | None = None  # a line: what the axes name and the grid does not have
    evaluations: tuple[Evaluation, ...] = ()

    def __repr__(self) -> str:
        return f"Job({self.job_id!r}, {counted(len(self.items), len(self.evaluations))})"

    def __post_init__(self) -> None:
        check_job_id(self.job_id)
        if not self.items:
            raise UserError(f"job {self.job_id}: no cells")
        if len({item.key for item in self.items}) < len(self.items):
            raise UserError(f"job {self.job_id}: a cell is in it twice")
        if not -(2**31) <= self.priority < 2**31:
            raise UserError(
                f"job {self.job_id}: priority {self.priority} is out of range", "priority"
            )

    @property
    def items(self) -> tuple[WorkItem, ...]:
        """Its cells, then its evaluations."""
        return (*self.cells, *self.evaluations)

    @property
    def tested_cells(self) -> tuple[Cell, ...]:
        """Its cells, and those that are evaluated, of the data sets whose files that takes."""
        return (*self.cells, *(evaluation.base for evaluation in self.evaluations))

    @cached_property
    def keys(self) -> frozenset[str]:
        """Keys of its cells."""
        return frozenset(cell.key for cell in self.cells)

    @property
    def digest(self) -> str:
        """Hash of everything except the id: two jobs with the same content share it."""
        cells = [[item.key, item.recipe] for item in self.items]
        return short_hash([self.config, cells, self.force, self.priority], digits=32)


def check_job_id(job_id: str) -> str:
    """Returns the id of a job, or raises UserError if it cannot be one.

    It is part of URLs, of file names and of command lines: no '..', and nothing like '-rf'.
    """
    if not JOB_ID.fullmatch(job_id):
        allowed = "1 to 64 letters, digits, '.', '_' or '-'; the first a letter or digit"
        raise UserError(f"job id {job_id!r}: {allowed}", "job_id")
    return job_id


def counted_cells(count: int) -> str:
    """'1 cell', '32 cells'."""
    return f"{count:,} cell{'' if count == 1 else 's'}"


def counted(items: int, evaluations: int) -> str:
    """'32 cells', '160 evaluations', '32 cells and 160 evaluations'."""
    cells = items - evaluations
    parts = [counted_cells(cells)] if cells or not evaluations else []
    if evaluations:
        parts.append(f"{evaluations:,} evaluation{'' if evaluations == 1 else 's'}")
    return " and ".join(parts)


def id_prefix(name: str) -> str:
    """Beginning of a job's id, from the config's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:40]


def new_job_id(name: str) -> str:
    """New unique job id that sorts by time: 'quickstart-20260131-184500-1a2b3c'."""
    return f"{id_prefix(name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class CellName:
    """Names of a cell; small, as they are sent for many thousands of cells."""

    key: str
    model: str
    transform: str
    distortion: str
    seed: int
    dataset: str
    recipe: str
    iterations: int  # number of training steps
    tested_on: str | None = None  # of an evaluation, whose key it is: the test set

    @classmethod
    def of(cls, item: WorkItem) -> CellName:
        """Names of a cell, or of an evaluation and its cell."""
        if isinstance(item, Evaluation):
            return replace(cls.of(item.cell), key=item.key, iterations=0, tested_on=item.tested_on)
        names = [field.name for field in fields(cls) if field.name != "tested_on"]
        return cls(**{name: getattr(item, name) for name in names})

    def __repr__(self) -> str:
        return f"CellName({self.label}, {self.dataset}, {self.recipe}, {self.key})"

    @property
    def label(self) -> str:
        """See `Cell.label` and `Evaluation.label`."""
        label = cell_label(self.model, self.transform, self.distortion, self.seed)
        return label if self.tested_on is None else f"{label} on {self.tested_on}"


@dataclass(frozen=True)
class CellStatus:
    """Status of one cell of a job."""

    cell: CellName
    state: CellState = CellState.QUEUED
    step: int = 0  # steps done
    test_error: float | None = None  # percent; None unless it succeeded and was tested
    error: str | None = None  # why it failed
    stored: bool = False  # whether the store had its result before the job

    def __repr__(self) -> str:
        text = f"{self.cell.label}, {self.state.value}, step {self.step} of {self.cell.iterations}"
        if self.test_error is not None:
            text += f", test error {self.test_error:.2f} %"
        return f"CellStatus({text})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        names = {name: getattr(self.cell, name) for name in ("key", "dataset", "recipe")}
        values = zip(_CELL_COLUMNS[1:], self._texts[1:], strict=True)
        return html_fields(self.cell.label, {**names, **dict(values)})

    @property
    def _texts(self) -> tuple[str, ...]:
        """Texts of `_CELL_COLUMNS`."""
        error = "" if self.test_error is None else f"{self.test_error:.2f}"
        steps = f"{self.step:,} of {self.cell.iterations:,}" if self.cell.iterations else ""
        return (self.cell.label, self.state.value, steps, error, self.error or "")


@dataclass(frozen=True)
class Page:
    """Selection of a job's cells."""

    offset: int = 0  # number of cells to skip
    limit: int = -1  # maximum number of cells; negative: all
    states: tuple[CellState, ...] = ()  # only cells in these states; empty: all
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # wanted values by field
    since: int = -1  # only cells that changed after this change, or are running


EVERYTHING = Page()


@dataclass(frozen=True)
class JobPage:
    """Selection of jobs."""

    offset: int = 0  # number of jobs to skip
    limit: int = -1  # maximum number of jobs; negative: all
    newest_first: bool = False  # else the oldest first


ALL_JOBS = JobPage()


@dataclass(frozen=True)
class JobStatus:
    """Status of a job at one moment."""

    job_id: str
    state: CellState  # running as soon as one of its cells has left the queue
    counts: Mapping[CellState, int]  # number of its cells by state; states without any are left out
    priority: int = 0
    submitted_at: datetime | None = None  # UTC
    workers: int = 0  # workers of the service, for all jobs
    images_per_second: float = 0.0  # of the whole service
    eta_seconds: float | None = None  # estimated time left; None until the speed is known
    trouble: str | None = None  # why the service is degraded; None if it is not
    waiting: tuple[str, ...] = ()  # lines: what its cells wait for, and which make no progress
    left_out: str | None = None  # see `Job`; only in the answer to a submission
    evaluations: int = 0  # how many of its cells are evaluations
    cells: tuple[CellStatus, ...] = ()  # only if requested, with the evaluations

    def __repr__(self) -> str:
        counts = ", ".join(f"{n:,} {state.value}" for state, n in self.counts.items() if n)
        return f"JobStatus({self.job_id!r}, {self.state.value}: {counts or 'no cells'})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the job, then its cells if they are part of the status."""
        counts = [f"{count:,} {state.value}" for state, count in self.counts.items() if count]
        eta, speed = self.eta_seconds, self.images_per_second
        fields = {
            "state": self.state.value,
            "cells": f"{self.total:,}: {', '.join(counts)}" if counts else "none",
            "submitted (UTC)": self.submitted_at and f"{self.submitted_at:%Y-%m-%d %H:%M:%S}",
            "time left": None if eta is None else timedelta(seconds=round(eta)),
            "images per second": f"{speed:,.0f}" if speed else None,
            "trouble": self.trouble,
            "waiting": "; ".join(self.waiting),
            "left out": self.left_out,
        }
        html = html_fields(self.job_id, fields)
        if not self.cells:
            return html
        return f"{html}\n{html_rows(_CELL_COLUMNS, [status._texts for status in self.cells])}"

    @property
    def total(self) -> int:
        """Number of its cells."""
        return sum(self.counts.values())

    @property
    def ended(self) -> bool:
        """Whether nothing is queued or running."""
        return self.state.ended


def job_state(counts: Mapping[CellState, int], cancelled: bool) -> CellState:
    """State of a job, from its cells' states and whether it was cancelled."""
    states = {state for state, count in counts.items() if count}
    if cancelled:
        return CellState.CANCELLED
    if CellState.QUEUED in states or CellState.RUNNING in states:
        return CellState.QUEUED if states == {CellState.QUEUED} else CellState.RUNNING
    for state in (CellState.FAILED, CellState.CANCELLED):
        if state in states:
            return state
    return CellState.SUCCEEDED


@dataclass(frozen=True)
class Totals:
    """Counts over the whole queue."""

    jobs: int
    cells: Mapping[CellState, int]  # cells of all jobs by state; shared cells count once
    attempts: Mapping[str, int]  # ended attempts by exit reason
    tried_cells: int  # cells with at least one attempt
    waited_seconds: float  # sum over those: time from the job's submission to the first attempt


@dataclass(frozen=True)
class Metrics:
    """Metrics of the service at one moment."""

    totals: Totals
    workers: int  # workers that have started
    images_per_second: float  # training images, sum over all workers
    degraded: bool  # whether there is a `degraded_reason`
