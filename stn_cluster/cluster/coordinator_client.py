"""Coordinator client: what can be asked of a coordinator, in plain calls and plain values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayError,
    RayTaskError,
)

from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, ServiceError, UserError
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.jobs import (
    EVERYTHING,
    CellStatus,
    Job,
    JobStatus,
    Metrics,
    Page,
    error_line,
)

RESTART_SECONDS = 120.0
POLL_SECONDS = 0.5
PAGE = 5000  # cells asked for at a time


class CoordinatorClient:
    """Calls a coordinator, and waits for it while Ray restarts it.

    Every method raises UserError where the coordinator refuses what is asked.

    Args:
        actor: the coordinator; see `stn_cluster.cluster.connect`.
        patience: seconds in which a coordinator that died is waited for.
        timeout: seconds in which an answer is waited for; None: as long as it takes.
    """

    def __init__(
        self, actor: Any, patience: float = RESTART_SECONDS, timeout: float | None = None
    ) -> None:
        self._actor = actor
        self._patience = patience
        self._timeout = timeout

    def with_patience(self, patience: float, timeout: float) -> CoordinatorClient:
        """The same, but it does not wait as long."""
        return CoordinatorClient(self._actor, patience, timeout)

    def version(self) -> str:
        """Version of the coordinator's stn-cluster."""
        return str(self._ask("version"))

    def settings(self) -> Settings:
        """Settings of the service; returns once it serves."""
        found: Settings = self._ask("opened")
        return found

    def submit(self, job: Job) -> bool:
        """Hands a job in: once this returns it is never lost.

        Returns:
            Whether it is new: the same job under the same id again is the same job.

        Raises:
            ConflictError: another job has this id.
        """
        return bool(self._ask("submit", job))

    def jobs(self) -> list[JobStatus]:
        """All jobs, oldest first, without their cells."""
        found: list[JobStatus] = self._ask("jobs")
        return found

    def status(self, job_id: str) -> JobStatus:
        """Status of a job, without its cells."""
        found: JobStatus = self._ask("status", job_id)
        return found

    def cells(self, job_id: str, page: Page = EVERYTHING) -> tuple[CellStatus, ...]:
        """Some of a job's cells, in the job's order."""
        return self.changed_cells(job_id, page)[0]

    def changed_cells(self, job_id: str, page: Page) -> tuple[tuple[CellStatus, ...], int]:
        """Some of a job's cells, and the number of the last change: `since` of the next page."""
        found: tuple[tuple[CellStatus, ...], int] = self._ask("cells", job_id, page)
        return found

    def watch(self, job_id: str, poll_seconds: float = POLL_SECONDS) -> Iterator[JobStatus]:
        """Status of a job with all its cells, again and again; the last is when it has ended.

        Args:
            job_id: the job.
            poll_seconds: between two looks.
        """
        cells: dict[str, CellStatus] = {}
        since = -1
        while True:
            began = time.monotonic()
            status = self.status(job_id)  # first: the cells are then no older
            if since < 0:
                cells, since = self._all_cells(job_id)
            else:
                changed, since = self.changed_cells(job_id, Page(since=since))
                cells.update((cell.cell.key, cell) for cell in changed)
            yield replace(status, cells=tuple(cells.values()))
            if status.ended:
                return
            # A large job takes its time to look at: no more than a part of it goes into looking.
            time.sleep(max(poll_seconds, 2 * (time.monotonic() - began)))

    def cancel(self, job_id: str) -> None:
        """Drops a job's interest in its cells; those that no other job wants stop."""
        self._ask("cancel", job_id)

    def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells anew; how many cells it waits for now."""
        return int(self._ask("retry", job_id))

    def attempts(self, name: str) -> list[Attempt]:
        """The history of a cell, oldest attempt first; by its key, or by its label."""
        found: list[Attempt] = self._ask("attempts", name)
        return found

    def log_of(self, key: str, attempt: str) -> str | None:
        """An attempt's log so far, or None."""
        found: str | None = self._ask("log_of", key, attempt)
        return found

    def logs(self, name: str) -> Iterator[tuple[Attempt, str]]:
        """Each attempt of a cell with its log, oldest first; by its key, or by its label."""
        for attempt in self.attempts(name):
            yield attempt, self.log_of(attempt.cell.key, attempt.id) or ""

    def metrics(self) -> Metrics:
        """The service in numbers."""
        found: Metrics = self._ask("metrics")
        return found

    def stop(self, timeout: float) -> None:
        """Ends the service: running cells are checkpointed, results written, workers stopped.

        Raises:
            UserError: results could not be written; their cells are still queued.
            ServiceError: it died before, or it took longer than `timeout` seconds.
        """
        try:
            ray.get(self._actor.stop.remote(), timeout=timeout)
        except RayTaskError as error:
            raise _unwrapped(error) from None
        except RayError as error:
            raise ServiceError(f"the service did not end as it should: {error}") from error
        finally:
            ray.kill(self._actor)

    def _all_cells(self, job_id: str) -> tuple[dict[str, CellStatus], int]:
        cells: dict[str, CellStatus] = {}
        since: int | None = None
        while True:
            page, last = self.changed_cells(job_id, Page(len(cells), PAGE))
            since = last if since is None else since  # the first page's: what changes is asked for
            cells.update((cell.cell.key, cell) for cell in page)
            if len(page) < PAGE:
                return cells, since

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Calls the coordinator; again, while it is away: whatever is asked may be asked twice."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._call(method, *arguments)
            except GetTimeoutError as error:
                raise ServiceError("the coordinator does not answer in time") from error
            except RayTaskError as error:
                raise _unwrapped(error) from None
            except ActorUnavailableError as error:
                if time.monotonic() > deadline:
                    raise ServiceError("the coordinator does not answer") from error
                time.sleep(0.2)
            except ActorDiedError as error:  # and is not restarted
                raise EndedError(f"the service has ended: {error_line(str(error))}") from error

    def _call(self, method: str, *arguments: Any) -> Any:
        return ray.get(getattr(self._actor, method).remote(*arguments), timeout=self._timeout)


def _unwrapped(error: RayTaskError) -> Exception:
    """A UserError as it was raised: Ray's own text has a traceback around it."""
    return error.cause if isinstance(error.cause, UserError) else error
