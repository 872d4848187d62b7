"""Schemas of the HTTP interface, beside the plain values of `stn_cluster.queue.jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from stn_cluster.errors import ConflictError, NotFoundError, ServiceError, StoreError, UserError
from stn_cluster.grid import CELL_FILTERS, Frozen, GridConfig, Seed
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.queue.jobs import JOB_ID, CellStatus

PORT = 8267  # the server's, unless told otherwise
MAX_PAGE = 5000  # cells
TOKEN_VARIABLE = "STN_CLUSTER_TOKEN"
VERSION_HEADER = "stn-cluster-version"  # of every answer
SERVER_VARIABLE = "STN_CLUSTER_SERVER"

JobId = Annotated[str, StringConstraints(pattern=f"^{JOB_ID.pattern}$")]
Key = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
AttemptId = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{32,36}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Priority = Annotated[int, Field(ge=-(2**31), lt=2**31, strict=True)]


# How errors are told over HTTP: the first that fits.
STATUS_OF_ERROR: tuple[tuple[type[UserError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (ServiceError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UserError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def is_usable_token(token: str) -> bool:
    """Whether a token can stand in a header."""
    return token.isascii() and token.isprintable() and " " not in token


class Problem(Frozen):
    """An error: its code, and a line for people."""

    code: str  # the HTTP status in words, as in not_found
    message: str  # one line for people
    field: str | None = None  # of the request, dotted as in config.recipe.iterations


class ProblemBody(Frozen):
    """Every error's body."""

    error: Problem


class WireConfig(GridConfig):
    """A grid config as it may come from the network: it names no code, and no place on a disk."""

    @field_validator("plugins")
    @classmethod
    def _none(cls, plugins: tuple[str, ...]) -> tuple[str, ...]:
        if plugins:
            raise ValueError("plug-ins are the server's own: `stn-cluster serve --plugins`")
        return plugins


class Submission(Frozen):
    """A job."""

    config: WireConfig
    priority: Priority = 0  # the larger, the sooner
    force: bool = False  # train anew what the store already holds


class CellFilters(Frozen):
    """Cells by what they are: each filter is one value or several, and all must match."""

    dataset: list[Word] = []
    recipe: list[Word] = []
    model: list[Word] = []
    transform: list[Word] = []
    distortion: list[Word] = []
    seed: list[Seed] = []
    key: list[Key] = []

    def given(self) -> dict[str, Sequence[Any]]:
        """Filters that are used, by name."""
        values = {name: getattr(self, name) for name in CELL_FILTERS}
        return {name: found for name, found in values.items() if found}


class CellQuery(CellFilters):
    """The same in a URL, where all is text."""

    seed: list[Annotated[int, Field(ge=0, lt=2**31)]] = []


class ResultFilters(CellQuery):
    """The same for rows of the store, which have a status, too."""

    status: list[Word] = []

    def given(self) -> dict[str, Sequence[Any]]:
        """Filters that are used, by name."""
        return super().given() | ({"status": self.status} if self.status else {})


class Rerun(Frozen):
    """Cells of the store and of its jobs, to be trained anew."""

    filters: CellFilters
    priority: Priority = 0


@dataclass(frozen=True)
class CellPage:
    """Some of a job's cells, in the job's order."""

    cells: tuple[CellStatus, ...]
    next_offset: int | None  # of the next page, if there may be one


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt at a cell, as its history keeps it."""

    attempt: str
    key: str  # the cell's
    job_id: str
    pack_size: int
    worker: WorkerInfo
    started_at: datetime  # UTC, as the next
    ended_at: datetime | None
    ending: str | None  # the exit reason
    charged: bool  # it counts towards the failures that a cell may have
    reason: str | None  # why it ended, in words

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptRecord:
        """The record of an attempt."""
        end = attempt.end
        return cls(
            attempt=attempt.id,
            key=attempt.cell.key,
            job_id=attempt.job_id,
            pack_size=attempt.pack_size,
            worker=attempt.worker,
            started_at=attempt.started_at,
            ended_at=end.at if end else None,
            ending=end.reason.value if end else None,
            charged=end.counts if end else False,
            reason=end.message if end else None,
        )


@dataclass(frozen=True)
class ServiceInfo:
    """A service: its version and its store."""

    version: str  # of stn-cluster
    store: str  # without credentials


@dataclass(frozen=True)
class Waiting:
    """Result of a retry."""

    waiting: int  # cells that the job waits for now
