"""Backend of the routes: the coordinator, the store, and the server's own plug-ins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from stn_cluster.client.schemas import Submission
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.errors import UserError
from stn_cluster.queue.jobs import Job
from stn_cluster.registry import largest, prepare_datasets, resolve
from stn_cluster.store import Store

MAX_CELLS = 200_000  # of one job


@dataclass(frozen=True)
class Backend:
    """One store, and the coordinator that serves it."""

    client: CoordinatorClient
    store: Store
    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    datasets: set[str] = field(default_factory=set)  # those that were found to be there

    def job(self, job_id: str, asked: Submission) -> Job:
        """The job that is asked for.

        Raises:
            UserError: a rule of the grid is broken, or a data set is not there.
        """
        if (count := largest(asked.config)) > MAX_CELLS:
            raise UserError(f"config: {count:,} cells, at most {MAX_CELLS:,} in a job", "config")
        config = asked.config.model_copy(update={"plugins": self.plugins})
        try:
            cells = resolve(config)
        except UserError as error:
            inside = ".".join(filter(None, ["config", error.field]))
            raise UserError(str(error), inside) from error
        new = [cell for cell in cells if cell.dataset not in self.datasets]
        prepare_datasets(new, self.data_root)
        self.datasets.update(cell.dataset for cell in new)
        job = Job(
            job_id=job_id,
            cells=tuple(cells),
            name=config.name,
            config=asked.config.model_dump_json(exclude_defaults=True),
        )
        return replace(job, force=asked.force, priority=asked.priority)


def _backend(request: Request) -> Backend:
    found: Backend = request.app.state.backend
    return found


BackendDep = Annotated[Backend, Depends(_backend)]
