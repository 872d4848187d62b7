"""Backend of a service's routes: the coordinator, the store, and the server's own plug-ins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from fastapi import Depends, Request

from stn_cluster.client.schemas import AttemptRecord, Submission
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.make_evaluations import check_weights_are_here
from stn_cluster.cluster.make_jobs import config_evaluations
from stn_cluster.cluster.preparation import check_components
from stn_cluster.cluster.rows import stored_results
from stn_cluster.errors import NotFoundError, StoreError, UserError
from stn_cluster.queue.jobs import CellStatus, Job
from stn_cluster.registry import check_size, left_out, prepare_datasets, resolve
from stn_cluster.server.store_backend import StoreBackend

READY_SECONDS = 5.0  # time for the coordinator's answer to a probe


@dataclass(eq=False, kw_only=True)
class Backend(StoreBackend):
    """A store and its coordinator, for the routes."""

    client: CoordinatorClient
    # Names and revisions of data sets whose files were checked.
    datasets: set[tuple[str, int | str]] = field(default_factory=set)

    def check(self) -> None:
        """Raises ServiceError if the coordinator does not answer."""
        self.client.with_patience(0, timeout=READY_SECONDS).settings()

    def job_cells(self, job_id: str) -> Sequence[CellStatus]:
        """See `StoreBackend.job_cells`."""
        return self.client.cells(job_id)

    def attempts(self, key: str) -> Sequence[AttemptRecord]:
        """See `StoreBackend.attempts`."""
        try:
            return [AttemptRecord.of(attempt) for attempt in self.client.attempts(key)]
        except NotFoundError:  # of an earlier queue
            return ()

    def log_of(self, key: str, attempt: str) -> str | None:
        """See `StoreBackend.log_of`."""
        return self.client.log_of(key, attempt)

    def job(self, job_id: str, submission: Submission) -> Job:
        """Makes the job of a submission.

        Raises:
            UserError: a rule of the grid is broken, a data set is missing, or a plug-in fails.
        """
        check_size(submission.config)
        config = submission.config.model_copy(update={"plugins": self.plugins})
        try:
            cells = resolve(config, self.data_root)
            evaluations = config_evaluations(config, cells, self.store, self.data_root)
        except StoreError:
            raise
        except UserError as error:
            field_name = ".".join(filter(None, ["config", error.field]))
            raise UserError(str(error), field_name) from error
        if evaluations:
            check_weights_are_here(evaluations, self.store, stored_results(self.store))
        tested = (*cells, *(evaluation.base for evaluation in evaluations))
        used = {(cell.dataset, cell.revisions[f"dataset:{cell.dataset}"]): cell for cell in tested}
        new = {used_set: cell for used_set, cell in used.items() if used_set not in self.datasets}
        prepare_datasets(list(new.values()), self.data_root)
        self.datasets.update(new)
        check_components(cells, self.data_root, evaluations)
        job = Job(
            job_id=job_id,
            cells=tuple(cells),
            evaluations=evaluations,
            name=config.name,
            config=submission.config.model_dump_json(exclude_defaults=True),
            left_out=left_out(config),
        )
        return replace(job, force=submission.force, priority=submission.priority)


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


BackendDep = Annotated[Backend, Depends(_backend)]
