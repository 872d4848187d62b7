"""Backend of routes that only read: a store, and the process that draws from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Request

from stn_cluster.client.schemas import AttemptRecord
from stn_cluster.drawing.process import DrawingProcess
from stn_cluster.errors import NotFoundError
from stn_cluster.queue.jobs import CellStatus
from stn_cluster.server.kept_answers import KeptAnswers
from stn_cluster.store import Store

Mode = Literal["view", "serve", "run"]


@dataclass(eq=False)
class StoreBackend:
    """A store without a service. One with a service knows jobs, too."""

    store: Store
    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    mode: Mode = "view"
    job_id: str | None = None  # of the only job, of `run`
    drawings: DrawingProcess = field(init=False)
    kept: KeptAnswers = field(init=False, default_factory=KeptAnswers)

    def __post_init__(self) -> None:
        self.drawings = DrawingProcess(self.store.uri, self.data_root, self.plugins)

    @property
    def read_only(self) -> bool:
        """Whether nothing can be submitted, cancelled or rerun."""
        return self.mode != "serve"

    def check(self) -> None:
        """Raises ServiceError if the service does not answer, StoreError if there is no store."""
        self.store.revision()

    def job_cells(self, job_id: str) -> Sequence[CellStatus]:
        """Cells of a job, with those that it evaluates.

        Raises:
            NotFoundError: there is no such job.
        """
        raise NotFoundError(f"unknown job {job_id!r}: here is a store, and no service")

    def attempts(self, key: str) -> Sequence[AttemptRecord]:
        """Attempts at a cell that the queue knows of, oldest first."""
        return ()

    def log_of(self, key: str, attempt: str) -> str | None:
        """Log of an attempt so far, or None."""
        return self.store.logs.read(key, attempt)


def _backend(request: Request) -> Any:
    return request.app.state.backend


StoreDep = Annotated[StoreBackend, Depends(_backend)]
