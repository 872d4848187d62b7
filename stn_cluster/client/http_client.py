"""HTTP client of a service: the commands of the command line, without Ray or torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from stn_cluster.client.local_tokens import OwnToken
from stn_cluster.client.patience import Patience
from stn_cluster.client.proxies import connection, proxy_for, through
from stn_cluster.client.redirects import forget_location
from stn_cluster.client.responses import (
    AWAY,
    checked,
    parsed,
    rows,
    text,
    unreachable,
    warned,
)
from stn_cluster.client.schemas import (
    MAX_PAGE,
    SERVER_VARIABLE,
    TOKEN_VARIABLE,
    AttemptRecord,
    CellPage,
    ServiceInfo,
    Waiting,
    is_usable_token,
)
from stn_cluster.client.urls import why_unusable
from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import NotFoundError, ServiceError, UserError
from stn_cluster.evaluate_config import TEST_DISTORTIONS
from stn_cluster.grid import GridConfig, listed
from stn_cluster.queue.jobs import (
    CellState,
    CellStatus,
    JobStatus,
    check_job_id,
    new_job_id,
)

if TYPE_CHECKING:
    import pandas as pd

PATIENCE_SECONDS = 60.0  # time to wait for an unavailable server
WATCH_PATIENCE_SECONDS = 600.0  # the same while watching a job
RETRY_SECONDS = 1.0
DEFAULT_PORTS = {"http": 80, "https": 443}
TIMEOUT = httpx.Timeout(90.0, connect=10.0)  # seconds; the server may wait for its coordinator
T = TypeVar("T")


class Client:
    """Client of `stn-cluster serve`; waits while the server restarts.

    Args:
        url: as in http://head:8267; default: STN_CLUSTER_SERVER.
        token: the server's token; default: STN_CLUSTER_TOKEN; if that is not set, the token that a
            server of this user on this machine has made.
        patience: seconds to wait for an unavailable server.

    Every method raises UserError (or its subclasses NotFoundError and ConflictError) if the server
    refuses the request, and ServiceError if no server responds.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.url = (url or os.environ.get(SERVER_VARIABLE) or "").rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"server {self.url!r}: a URL is needed, as in http://head:8267")
        token = (token or os.environ.get(TOKEN_VARIABLE, "")).strip()
        if not is_usable_token(token):
            raise UserError(f"{TOKEN_VARIABLE}: ASCII letters, digits and signs only")
        self._patience = patience
        try:
            base_url = httpx.URL(f"{self.url}/v1")
            if base_url.userinfo:  # first, as the other errors show the URL
                raise UserError(f"server: no name and password in the URL; set {TOKEN_VARIABLE}")
            if base_url.query or base_url.fragment or "#" in self.url or "?" in self.url:
                # As in the address of the page, which has the token: it is not shown.
                raise UserError(f"server: the URL ends before '?' or '#'; set {TOKEN_VARIABLE}")
            reason = why_unusable(base_url)
        except (httpx.InvalidURL, UnicodeError) as error:
            reason = str(error)
        if reason is not None:
            raise UserError(f"server {self.url!r}: {reason}")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        port = base_url.port or DEFAULT_PORTS[base_url.scheme]
        auth = None if token else OwnToken(base_url.host, port)
        proxy = proxy_for(base_url)
        self._where = through(self.url, proxy)  # for errors
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers,
            auth=auth,
            timeout=TIMEOUT,
            event_hooks={"response": [forget_location]},
            **connection(base_url, proxy),
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def service(self) -> ServiceInfo:
        """Version and store of the service."""
        return self._read(ServiceInfo, "GET", "/service")

    # --- jobs ---

    def submit(
        self,
        config: GridConfig | Mapping[str, Any] | str | Path,
        *,
        overrides: Sequence[str] = (),
        job_id: str | None = None,
        priority: int = 0,
        force: bool = False,
    ) -> JobStatus:
        """Submits a job; once this returns, the job is never lost.

        Args:
            config: a YAML file, its fields as a dict, or a `GridConfig`.
            overrides: 'FIELD=VALUE', for a file.
            job_id: id of the job; submitting the same job with the same id again has no effect.
            priority: jobs with a higher priority go first.
            force: train cells again that the store already has.
        """
        source = None
        if isinstance(config, str | Path):
            source, config = config, load_config(config, overrides)
        elif not isinstance(config, GridConfig):
            config = parse_config(dict(config))
        body = {
            "config": config.model_dump(mode="json", exclude_defaults=True),
            "priority": priority,
            "force": force,
        }
        try:
            return self._read(JobStatus, "PUT", _job(job_id or new_job_id(config.name)), json=body)
        except UserError as error:
            if source is None or not (error.field or "").startswith("config"):
                raise
            line = str(error).removeprefix("config: ").removeprefix("config.")
            raise UserError(f"{source}: {line}", error.field) from None

    def rerun(self, *, job_id: str | None = None, priority: int = 0, **filters: Any) -> JobStatus:
        """Trains again all cells of the store and of its jobs that match the filters.

        Args:
            job_id: the new job's id.
            priority: jobs with a higher priority go first.
            filters: dataset, recipe, model, transform, distortion, seed, key: one value or several.
        """
        body = {"filters": _as_lists(filters), "priority": priority}
        return self._read(
            JobStatus, "PUT", _job(job_id or new_job_id("rerun"), "reruns"), json=body
        )

    def evaluate(
        self,
        *,
        on: str | Sequence[str] = TEST_DISTORTIONS,
        severity: float | Sequence[float] = 1.0,
        worst_of: int = 1,
        dataset: str | None = None,
        job_id: str | None = None,
        priority: int = 0,
        **filters: Any,
    ) -> JobStatus:
        """Tests trained cells of the store that match the filters on other test sets.

        Args:
            on, severity, worst_of, dataset: see `stn_cluster.evaluate`.
            job_id: the new job's id.
            priority: jobs with a higher priority go first.
            filters: recipe, model, transform, distortion, seed, key: one value or several.
        """
        wanted = {"on": on, "severity": severity, "worst_of": worst_of, "dataset": dataset}
        config = {"of": "store", **wanted, "filters": _as_lists(filters)}
        return self.submit(
            {"name": "evaluate", "evaluate": config}, job_id=job_id, priority=priority
        )

    def jobs(self) -> list[JobStatus]:
        """All jobs, oldest first, without their cells."""
        return self._read(list[JobStatus], "GET", "/jobs")

    def status(self, job_id: str) -> JobStatus:
        """Status of a job, without its cells."""
        return self._read(JobStatus, "GET", _job(job_id))

    def cells(
        self, job_id: str, states: Sequence[CellState] = (), **filters: Any
    ) -> Iterator[CellStatus]:
        """Cells of a job, in its order: those in `states` (or all) that match the filters."""
        query = {**_as_lists(filters), "state": list(states), "limit": MAX_PAGE}
        offset: int | None = 0
        while offset is not None:
            params = {**query, "offset": offset}
            page = self._read(CellPage, "GET", f"{_job(job_id)}/cells", params=params)
            yield from page.cells
            offset = page.next_offset

    def cancel(self, job_id: str) -> JobStatus:
        """Cancels a job: cells that no other job wants stop."""
        return self._read(JobStatus, "POST", f"{_job(job_id)}/cancel", json={})

    def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells again.

        Returns:
            Number of cells that the job now waits for.
        """
        return self._read(Waiting, "POST", f"{_job(job_id)}/retry", json={}).waiting

    def watch(self, job_id: str) -> Iterator[JobStatus]:
        """Yields the status of a job with all its cells, repeatedly until the job has ended.

        While the server is unavailable, the status has `trouble`; watching resumes afterwards.
        """
        cells: dict[str, CellStatus] = {}
        status: JobStatus | None = None
        since: str | None = None
        deadline = time.monotonic() + self._patience
        with Patience(self.url, self._patience) as wait:
            while True:
                try:
                    for event in self._events(job_id, since):
                        wait.over()
                        deadline = time.monotonic() + max(self._patience, WATCH_PATIENCE_SECONDS)
                        status = parsed(JobStatus, event.data)
                        cells.update((cell.cell.key, cell) for cell in status.cells)
                        if event.id and event.id != since:
                            since = event.id
                        if since is not None:
                            yield replace(status, cells=tuple(cells.values()))
                        if status.ended and since == event.id:
                            return
                except ServiceError as error:
                    if time.monotonic() > deadline:
                        raise
                    wait.reason = str(error)
                    if status is not None and since is not None:
                        trouble = f"{error}; waiting for it"
                        yield replace(status, cells=tuple(cells.values()), trouble=trouble)
                time.sleep(RETRY_SECONDS)

    # --- history and results ---

    def attempts(self, name: str) -> list[AttemptRecord]:
        """Attempts at a cell, oldest first; by its key or its label."""
        return self._read(list[AttemptRecord], "GET", "/attempts", params={"cell": name})

    def logs(self, name: str) -> Iterator[tuple[AttemptRecord, str]]:
        """Yields each attempt at a cell with its log, oldest first; by its key or its label."""
        for attempt in self.attempts(name):
            try:
                log = self._request("GET", f"/logs/{attempt.key}/{attempt.attempt}")
                yield attempt, text(log)
            except NotFoundError:
                yield attempt, ""

    def results(self, *, latest: bool = True, **filters: Any) -> pd.DataFrame:
        """Results of the service's store, with the columns of `load_results`.

        Args:
            latest: only each cell's current result, not every attempt that ended a cell.
            filters: see `load_results`.
        """
        from stn_cluster.store import in_table_order

        query = {**_as_lists(filters), "format": "parquet", "latest": latest}
        response = warned(self._request("GET", "/results", query))
        return in_table_order(rows(response))

    def table(
        self,
        format: str = "text",
        *,
        reference: str = "paper",
        interval: bool = False,
        correction: str = "holm",
        job_id: str | None = None,
        **filters: Any,
    ) -> str:
        """The comparison table as text.

        Args:
            format: text, md, csv, latex or html.
            reference: numbers to compare ours with: 'paper' or 'none'.
            interval: adds intervals, and marks for what cannot be told from a column's best.
            correction: of these marks: 'holm' or 'benjamini-hochberg'.
            job_id: only the cells of this job.
            filters: see `comparison_table`.
        """
        query = {**_as_lists(filters), "format": format, "reference": reference}
        if interval:  # left out otherwise, as servers of older versions do not know it
            query |= {"interval": "true", "correction": correction}
        path = f"{_job(job_id)}/table" if job_id else "/table"
        return text(warned(self._request("GET", path, query)))

    def evaluations(self, **filters: Any) -> pd.DataFrame:
        """Evaluations of the service's store, with the columns of `load_evaluations`.

        Args:
            filters: see `load_evaluations`.
        """
        query = {**_as_lists(filters), "format": "parquet"}
        return rows(self._request("GET", "/evaluations", query))

    def transfer(self, format: str = "text", *, job_id: str | None = None, **filters: Any) -> str:
        """The table of cells trained on one distortion and tested on others, as text.

        Args:
            format: text, md, csv, latex or html.
            job_id: only the evaluations of this job, at all of their severities.
            filters: see `load_evaluations`.
        """
        path = f"{_job(job_id)}/transfer" if job_id else "/transfer"
        return text(self._request("GET", path, {**_as_lists(filters), "format": format}))

    def robustness(self, format: str = "text", **filters: Any) -> str:
        """The tables of the error by severity, as text; see `transfer`."""
        return text(self._request("GET", "/robustness", {**_as_lists(filters), "format": format}))

    # --- inside ---

    def _read(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        return parsed(kind, self._request(method, path, **request).content)

    def _request(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> httpx.Response:
        """Sends a request, and retries while the server is unavailable: all are idempotent."""
        deadline = time.monotonic() + self._patience
        with Patience(self._where, self._patience) as wait:
            while True:
                try:
                    response = self._http.request(method, path, params=params, json=json)
                    if response.status_code not in AWAY or time.monotonic() > deadline:
                        return checked(response, self._where)
                    wait.reason = f"{self._where}: unavailable: HTTP {response.status_code}"
                except httpx.RequestError as error:
                    wait.reason = unreachable(self._where, error)
                    if time.monotonic() > deadline:
                        raise ServiceError(wait.reason) from error
                time.sleep(RETRY_SECONDS)

    def _events(self, job_id: str, since: str | None) -> Iterator[ServerSentEvent]:
        """Yields the events of a job after event `since`, until the stream ends.

        Raises:
            ServiceError: the server is unavailable.
        """
        headers = {"Last-Event-ID": since} if since else {}
        path = f"{_job(job_id)}/events"
        try:
            with connect_sse(self._http, "GET", path, headers=headers) as stream:
                checked(stream.response, self._where)
                # An event without data only keeps the connection alive.
                yield from (event for event in stream.iter_sse() if event.data)
        except httpx.RequestError as error:
            raise ServiceError(unreachable(self._where, error)) from error


def _job(job_id: str, kind: str = "jobs") -> str:
    """Path of a job's resource; raises UserError for an id that would name another one."""
    return f"/{kind}/{check_job_id(job_id)}"


def _as_lists(filters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Values of each filter as a list, without filters that are None."""
    return {name: listed(wanted) for name, wanted in filters.items() if wanted is not None}
