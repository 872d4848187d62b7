"""Route to a job's progress, as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import TypeAdapter

from stn_cluster.client.schemas import MAX_PAGE, JobId
from stn_cluster.errors import ServiceError
from stn_cluster.queue.jobs import JobStatus, Page
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["jobs"])
POLL_SECONDS = 1.0
_JSON = TypeAdapter(JobStatus)
Since = Annotated[int, Header(alias="Last-Event-ID", ge=-1, lt=2**63)]


async def _event(status: JobStatus, since: int | None = None) -> ServerSentEvent:
    # In a thread, as encoding a page of a large job would block the event loop.
    data = await run_sync(lambda: _JSON.dump_json(status).decode())
    return ServerSentEvent(raw_data=data, event="job", id=None if since is None else str(since))


async def _known(job_id: JobId, backend: BackendDep) -> JobStatus:
    """Status of the job, read before the stream begins, when an error response is possible."""
    return await run_sync(backend.client.status, job_id)


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def events(
    job_id: JobId,
    backend: BackendDep,
    status: Annotated[JobStatus, Depends(_known)],
    since: Since = -1,
) -> AsyncIterator[ServerSentEvent]:
    """Streams events `job`: the job's status, with the cells that have changed since the previous
    event. The first events contain all cells, in pages; the last page of each update has an id. A
    client that lost the connection sends the last id, as browsers do, and gets the changes since
    then. The stream ends with the job. While the coordinator is unavailable, the status has
    `trouble`."""
    while True:
        try:
            now = await run_sync(backend.client.status, job_id)
            page = Page(limit=MAX_PAGE, since=since)
            cells, last = await run_sync(backend.client.changed_cells, job_id, page)
            if last < since:  # the queue was replaced by another one
                since = -1
                continue
            while len(cells) == page.limit:  # there may be more
                yield await _event(replace(now, cells=cells))
                page = replace(page, offset=page.offset + page.limit)
                # Its change number is ignored, so that changes since the first page come again.
                cells, _ = await run_sync(backend.client.changed_cells, job_id, page)
            # Only now, so that a job's end is not sent before its last cells, even if the
            # coordinator fails in between.
            status, since = now, last
            yield await _event(replace(status, cells=cells), since)
            if status.ended:
                return
        except ServiceError as error:
            yield await _event(replace(status, trouble=str(error)))
        await anyio.sleep(POLL_SECONDS)
