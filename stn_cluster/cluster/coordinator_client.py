"""Coordinator client: calls of a coordinator with plain values, without Ray's object refs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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

from stn_cluster.cluster.memory_deaths import MemoryDeaths
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, ServiceError, UserError, error_line
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.jobs import (
    ALL_JOBS,
    EVERYTHING,
    CellStatus,
    Job,
    JobPage,
    JobStatus,
    Metrics,
    Page,
)
from stn_cluster.queue.notifications import Given, Notification
from stn_cluster.queue.submission import Submission

RESTART_SECONDS = 120.0
POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0  # without a response, between two looks whether the coordinator can live
PAGE = 5000  # cells per request


class CoordinatorClient:
    """Calls a coordinator, and waits while Ray restarts it.

    Every method raises UserError if the coordinator refuses the request.

    Args:
        actor: the coordinator; see `stn_cluster.cluster.connect`.
        patience: seconds to wait for a coordinator that died.
        timeout: seconds to wait for a response; None: no limit.
    """

    def __init__(
        self, actor: Any, patience: float = RESTART_SECONDS, timeout: float | None = None
    ) -> None:
        self._actor = actor
        self._patience = patience
        self._timeout = timeout
        self._deaths = MemoryDeaths(actor)

    def with_patience(self, patience: float, timeout: float) -> CoordinatorClient:
        """Client of the same coordinator with another patience and timeout."""
        return CoordinatorClient(self._actor, patience, timeout)

    def version(self) -> str:
        """Version of the coordinator's stn-cluster."""
        return str(self._request("version"))

    def settings(self) -> Settings:
        """Settings of the service; returns once store and queue are open."""
        settings: Settings = self._request("opened")
        return settings

    def submit(self, job: Job) -> bool:
        """Submits a job; once this returns, it is never lost.

        Returns:
            Whether it is new: submitting the same job with the same id again has no effect.

        Raises:
            ConflictError: another job has this id.
        """
        return bool(self._request("submit", Submission.of(job)))

    def jobs(self, page: JobPage = ALL_JOBS) -> list[JobStatus]:
        """Jobs, without their cells; all of them, oldest first, unless a page says otherwise."""
        jobs: list[JobStatus] = self._request("jobs", page)
        return jobs

    def status(self, job_id: str) -> JobStatus:
        """Status of a job, without its cells."""
        status: JobStatus = self._request("status", job_id)
        return status

    def cells(self, job_id: str, page: Page = EVERYTHING) -> tuple[CellStatus, ...]:
        """A page of a job's cells, in the job's order."""
        return self.changed_cells(job_id, page)[0]

    def changed_cells(self, job_id: str, page: Page) -> tuple[tuple[CellStatus, ...], int]:
        """A page of a job's cells, and the number of the last change: `since` of a later page."""
        changed: tuple[tuple[CellStatus, ...], int] = self._request("cells", job_id, page)
        return changed

    def watch(self, job_id: str, poll_seconds: float = POLL_SECONDS) -> Iterator[JobStatus]:
        """Yields the status of a job with all its cells, repeatedly until the job has ended.

        Args:
            job_id: the job.
            poll_seconds: time between two requests.
        """
        cells: dict[str, CellStatus] = {}
        since = -1
        while True:
            started = time.monotonic()
            status = self.status(job_id)  # first, so that the cells are at least as new
            if since < 0:
                cells, since = self._all_cells(job_id)
            else:
                changed, since = self.changed_cells(job_id, Page(since=since))
                cells.update((cell.cell.key, cell) for cell in changed)
            yield replace(status, cells=tuple(cells.values()))
            if status.ended:
                return
            # Requests for a large job take long: at most a third of the time is spent on them.
            time.sleep(max(poll_seconds, 2 * (time.monotonic() - started)))

    def cancel(self, job_id: str) -> None:
        """Cancels a job: cells that no other job wants stop."""
        self._request("cancel", job_id)

    def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells again; returns the number it now waits for."""
        return int(self._request("retry", job_id))

    def attempts(self, name: str) -> list[Attempt]:
        """Attempts at a cell, oldest first; by its key or its label."""
        attempts: list[Attempt] = self._request("attempts", name)
        return attempts

    def log_of(self, key: str, attempt: str) -> str | None:
        """Log of an attempt so far, or None."""
        text: str | None = self._request("log_of", key, attempt)
        return text

    def logs(self, name: str) -> Iterator[tuple[Attempt, str]]:
        """Yields each attempt at a cell with its log, oldest first; by its key or its label."""
        for attempt in self.attempts(name):
            yield attempt, self.log_of(attempt.item.key, attempt.id) or ""

    def metrics(self) -> Metrics:
        """Metrics of the service."""
        metrics: Metrics = self._request("metrics")
        return metrics

    def notifications(self, target: str, limit: int) -> list[Notification]:
        """Notifications that may be delivered to the target with this digest, oldest first."""
        due: list[Notification] = self._request("notifications_due", target, limit)
        return due

    def settle(self, ends: Sequence[Given]) -> list[int]:
        """Tells what became of deliveries; returns the numbers of those that are given up."""
        given_up: list[int] = self._request("settle", ends)
        return given_up

    def stop(self, timeout: float) -> None:
        """Ends the service: checkpoints running cells, writes results, stops workers.

        Raises:
            UserError: results could not be written; their cells are still queued.
            ServiceError: the coordinator died, or needed more than `timeout` seconds.
        """
        try:
            self._answer(self._actor.stop.remote(), timeout)
        except RayTaskError as error:
            raise _unwrapped(error) from None
        except RayError as error:
            raise ServiceError(f"the service did not end properly: {error}") from error
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends the coordinator's process at once; Ray does not start it again."""
        ray.kill(self._actor)

    def _all_cells(self, job_id: str) -> tuple[dict[str, CellStatus], int]:
        cells: dict[str, CellStatus] = {}
        since: int | None = None
        while True:
            page, last = self.changed_cells(job_id, Page(len(cells), PAGE))
            since = last if since is None else since  # the first page's, to miss no change
            cells.update((cell.cell.key, cell) for cell in page)
            if len(page) < PAGE:
                return cells, since

    def _request(self, method: str, *arguments: Any) -> Any:
        """Calls the coordinator, and retries while it is unavailable: all calls are idempotent."""
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
                self._deaths.check()
                time.sleep(0.2)
            except ActorDiedError as error:  # Ray does not restart it
                raise EndedError(f"the service has ended: {error_line(str(error))}") from error

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._answer(getattr(self._actor, method).remote(*arguments), self._timeout)

    def _answer(self, call: Any, timeout: float | None) -> Any:
        """Waits for the response to a call.

        Raises:
            ServiceError: the coordinator is killed whenever it starts, as memory is short.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            try:
                return ray.get(call, timeout=max(0.0, min(left, LOOK_SECONDS)))
            except GetTimeoutError:
                if left <= LOOK_SECONDS and deadline is not None:
                    raise
                self._deaths.check()


def _unwrapped(error: RayTaskError) -> Exception:
    """The UserError that was raised in the actor, without Ray's traceback; else Ray's error."""
    return error.cause if isinstance(error.cause, UserError) else error
