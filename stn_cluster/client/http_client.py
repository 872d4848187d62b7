"""HTTP client of a service: the verbs of the command line, with neither Ray nor torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from stn_cluster.client.responses import AWAY, checked, parsed, unreachable
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
from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import NotFoundError, ServiceError, UserError
from stn_cluster.grid import GridConfig
from stn_cluster.queue.jobs import CellState, CellStatus, JobStatus, new_job_id

if TYPE_CHECKING:
    import pandas as pd

PATIENCE_SECONDS = 60.0  # in which a server that is away is waited for
WATCH_PATIENCE_SECONDS = 600.0  # the same, where a job is watched
RETRY_SECONDS = 1.0
TIMEOUT = httpx.Timeout(90.0, connect=10.0)  # seconds; a server waits for its coordinator, too
T = TypeVar("T")


class Client:
    """Speaks with `stn-cluster serve`, and waits for it while it is restarted.

    Args:
        url: as in http://head:8267; default: STN_CLUSTER_SERVER.
        token: what the server was given; default: STN_CLUSTER_TOKEN, if that is set.
        patience: seconds in which a server that is away is waited for.

    Every method raises UserError where the server refuses what is asked (NotFoundError and
    ConflictError among them), and ServiceError where there is none.
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
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._patience = patience
        try:
            where = httpx.URL(f"{self.url}/v1")
        except httpx.InvalidURL as error:
            raise UserError(f"server {self.url!r}: {error}") from None
        if where.userinfo:
            raise UserError(f"server: no name and password in the URL; set {TOKEN_VARIABLE}")
        self._http = httpx.Client(base_url=where, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def service(self) -> ServiceInfo:
        """The service's version and store."""
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
        """Hands a job in: once this returns it is never lost.

        Args:
            config: a YAML file, its fields as a dict, or a `GridConfig`.
            overrides: 'FIELD=VALUE', for a file.
            job_id: its id; the same job under the same id again is the same job.
            priority: the larger, the sooner.
            force: train anew what the store already holds.
        """
        source = None
        if isinstance(config, str | Path):
            source, config = config, load_config(config, overrides)
        elif not isinstance(config, GridConfig):
            config = parse_config(dict(config))
        asked = {
            "config": config.model_dump(mode="json", exclude_defaults=True),
            "priority": priority,
            "force": force,
        }
        try:
            return self._read(
                JobStatus, "PUT", f"/jobs/{job_id or new_job_id(config.name)}", json=asked
            )
        except UserError as error:
            if source is None or not (error.field or "").startswith("config"):
                raise
            line = str(error).removeprefix("config: ").removeprefix("config.")
            raise UserError(f"{source}: {line}", error.field) from None

    def rerun(self, *, job_id: str | None = None, priority: int = 0, **filters: Any) -> JobStatus:
        """Trains all cells of the store and of its jobs that match the filters anew.

        Args:
            job_id: the new job's id.
            priority: the larger, the sooner.
            filters: dataset, recipe, model, transform, distortion, seed, key: a value, or several.
        """
        asked = {"filters": _several(filters), "priority": priority}
        return self._read(JobStatus, "PUT", f"/reruns/{job_id or new_job_id('rerun')}", json=asked)

    def jobs(self) -> list[JobStatus]:
        """All jobs, oldest first, without their cells."""
        return self._read(list[JobStatus], "GET", "/jobs")

    def status(self, job_id: str) -> JobStatus:
        """Status of a job, without its cells."""
        return self._read(JobStatus, "GET", f"/jobs/{job_id}")

    def cells(
        self, job_id: str, states: Sequence[CellState] = (), **filters: Any
    ) -> Iterator[CellStatus]:
        """A job's cells, in the job's order: those in one of some states that match the filters."""
        asked = {**_several(filters), "state": list(states), "limit": MAX_PAGE}
        offset: int | None = 0
        while offset is not None:
            where = {**asked, "offset": offset}
            page = self._read(CellPage, "GET", f"/jobs/{job_id}/cells", params=where)
            yield from page.cells
            offset = page.next_offset

    def cancel(self, job_id: str) -> JobStatus:
        """Drops a job's interest in its cells; those that no other job wants stop."""
        return self._read(JobStatus, "POST", f"/jobs/{job_id}/cancel", json={})

    def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells anew; how many cells it waits for now."""
        return self._read(Waiting, "POST", f"/jobs/{job_id}/retry", json={}).waiting

    def watch(self, job_id: str) -> Iterator[JobStatus]:
        """Status of a job with all its cells, again and again; the last is when it has ended.

        It goes on where it was when the server was away. Meanwhile the job has `trouble`.
        """
        cells: dict[str, CellStatus] = {}
        status: JobStatus | None = None
        since: str | None = None
        deadline = time.monotonic() + self._patience
        while True:
            try:
                for event in self._events(job_id, since):
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
                if status is not None and since is not None:
                    trouble = f"{error}; waiting for it"
                    yield replace(status, cells=tuple(cells.values()), trouble=trouble)
            time.sleep(RETRY_SECONDS)

    # --- history and results ---

    def attempts(self, name: str) -> list[AttemptRecord]:
        """The history of a cell, oldest attempt first; by its key, or by its label."""
        return self._read(list[AttemptRecord], "GET", "/attempts", params={"cell": name})

    def logs(self, name: str) -> Iterator[tuple[AttemptRecord, str]]:
        """Each attempt of a cell with its log, oldest first; by its key, or by its label."""
        for attempt in self.attempts(name):
            try:
                yield attempt, self._ask("GET", f"/logs/{attempt.key}/{attempt.attempt}").text
            except NotFoundError:
                yield attempt, ""

    def results(self, *, latest: bool = True, **filters: Any) -> pd.DataFrame:
        """Each cell's current result: what `load_results` gives of the service's store.

        Args:
            latest: the current one only, rather than every attempt that ended a cell.
            filters: see `load_results`.
        """
        from stn_cluster.store import from_parquet, in_table_order

        asked = {**_several(filters), "format": "parquet", "latest": latest}
        return in_table_order(from_parquet(self._ask("GET", "/results", asked).content))

    def table(
        self,
        format: str = "text",
        *,
        reference: str = "paper",
        job_id: str | None = None,
        **filters: Any,
    ) -> str:
        """The comparison table.

        Args:
            format: text, md, csv, latex or html.
            reference: whose numbers to set beside ours: 'paper', or 'none'.
            job_id: of this job's cells only.
            filters: see `comparison_table`.
        """
        asked = {**_several(filters), "format": format, "reference": reference}
        where = f"/jobs/{job_id}/table" if job_id else "/table"
        return self._ask("GET", where, asked).text

    # --- inside ---

    def _read(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        return parsed(kind, self._ask(method, path, **request).content)

    def _ask(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> httpx.Response:
        """Asks, again and again while the server is away: whatever is asked may be asked twice."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                response = self._http.request(method, path, params=params, json=json)
                if response.status_code not in AWAY or time.monotonic() > deadline:
                    return checked(response, self.url)
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise ServiceError(unreachable(self.url, error)) from error
            time.sleep(RETRY_SECONDS)

    def _events(self, job_id: str, since: str | None) -> Iterator[ServerSentEvent]:
        """The events of a job after one; ends when the stream does.

        Raises:
            ServiceError: the server is away, or has gone.
        """
        headers = {"Last-Event-ID": since} if since else {}
        path = f"/jobs/{job_id}/events"
        try:
            with connect_sse(self._http, "GET", path, headers=headers) as stream:
                checked(stream.response, self.url)
                # Without data: the server is still there, and has nothing to say.
                yield from (event for event in stream.iter_sse() if event.data)
        except httpx.TransportError as error:
            raise ServiceError(unreachable(self.url, error)) from error


def _several(filters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Each filter's values, be it one or several."""
    given = {name: wanted for name, wanted in filters.items() if wanted is not None}
    return {
        name: [wanted] if isinstance(wanted, str | int) else list(wanted)
        for name, wanted in given.items()
    }
