"""Schemas of the HTTP interface, in addition to the values of `stn_cluster.queue.jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from stn_cluster.errors import ConflictError, NotFoundError, ServiceError, StoreError, UserError
from stn_cluster.grid import CELL_FILTERS, Frozen, GridConfig, Seed
from stn_cluster.plain_text import plain_lines
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.queue.jobs import JOB_ID, CellStatus, counted_cells

PORT = 8267  # default port of the server
VIEW_PORT = 8268  # and of `view`
MAX_PAGE = 5000  # cells
TOKEN_VARIABLE = "STN_CLUSTER_TOKEN"
VERSION_HEADER = "stn-cluster-version"  # in every response
OUTDATED_HEADER = "stn-cluster-outdated"  # in a response: lines on outdated results, as JSON
SERVER_VARIABLE = "STN_CLUSTER_SERVER"

JobId = Annotated[str, StringConstraints(pattern=f"^{JOB_ID.pattern}$")]
Key = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
AttemptId = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{32,36}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Priority = Annotated[int, Field(ge=-(2**31), lt=2**31, strict=True)]


# HTTP status of each kind of error; the first match applies.
STATUS_OF_ERROR: tuple[tuple[type[UserError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (ServiceError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UserError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def is_usable_token(token: str) -> bool:
    """Whether a token can be sent in a header."""
    return token.isascii() and token.isprintable() and " " not in token


class Problem(Frozen):
    """An error: its code, and a line for people."""

    code: str  # name of the HTTP status, as in not_found
    message: str  # one line for people
    field: str | None = None  # the wrong field of the request, as in config.recipe.iterations


class ProblemBody(Frozen):
    """Body of every error response."""

    error: Problem


class WireConfig(GridConfig):
    """A grid config from the network, which may not name plug-ins."""

    @field_validator("plugins")
    @classmethod
    def _none(cls, plugins: tuple[str, ...]) -> tuple[str, ...]:
        if plugins:
            raise ValueError("only the server names plug-ins: `stn-cluster serve --plugins`")
        return plugins


class Submission(Frozen):
    """A job to submit."""

    config: WireConfig
    priority: Priority = 0  # jobs with a higher priority go first
    force: bool = False  # train cells again that the store already has


class CellFilters(Frozen):
    """Filters of cells: each has one value or several, and all filters must match."""

    dataset: list[Word] = []
    recipe: list[Word] = []
    model: list[Word] = []
    transform: list[Word] = []
    distortion: list[Word] = []
    seed: list[Seed] = []
    key: list[Key] = []

    def used(self) -> dict[str, Sequence[Any]]:
        """Filters with values, by name."""
        filters = {name: getattr(self, name) for name in CELL_FILTERS}
        return {name: values for name, values in filters.items() if values}


class CellQuery(CellFilters):
    """Filters of cells in a URL, where seeds are text."""

    seed: list[Annotated[int, Field(ge=0, lt=2**31)]] = []


class ResultFilters(CellQuery):
    """Filters of rows of the store, which also have a status."""

    status: list[Word] = []

    def used(self) -> dict[str, Sequence[Any]]:
        """Filters with values, by name."""
        return super().used() | ({"status": self.status} if self.status else {})


class Rerun(Frozen):
    """Cells of the store and of its jobs to train again."""

    filters: CellFilters
    priority: Priority = 0


@dataclass(frozen=True)
class CellPage:
    """One page of a job's cells, in the job's order."""

    cells: tuple[CellStatus, ...]
    next_offset: int | None  # offset of the next page, if there may be one

    def __repr__(self) -> str:
        return f"CellPage({counted_cells(len(self.cells))}, next_offset={self.next_offset})"


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt at a cell, in the cell's history."""

    attempt: str
    key: str  # the cell's key, or the evaluation's
    job_id: str
    pack_size: int
    worker: WorkerInfo
    started_at: datetime  # UTC
    ended_at: datetime | None  # UTC
    ending: str | None  # exit reason
    charged: bool  # whether it counts as a failure of the cell
    reason: str | None  # message for people

    def __repr__(self) -> str:
        return f"AttemptRecord({self.attempt!r}, {self.key}, {self.ending or 'running'})"

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptRecord:
        """Makes the record of an attempt."""
        end = attempt.end
        return cls(
            attempt=attempt.id,
            key=attempt.item.key,
            job_id=attempt.job_id,
            pack_size=attempt.pack_size,
            worker=attempt.worker,
            started_at=attempt.started_at,
            ended_at=end.at if end else None,
            ending=end.reason.value if end else None,
            charged=end.counts if end else False,
            reason=plain_lines(end.message) if end and end.message else None,
        )


@dataclass(frozen=True)
class ServiceInfo:
    """A service: its version and its store."""

    version: str  # version of stn-cluster
    store: str  # path or URI without credentials


@dataclass(frozen=True)
class Waiting:
    """Result of a retry."""

    waiting: int  # number of cells that the job now waits for
