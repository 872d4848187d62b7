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
    # In a thread: a page of a large job takes its time, and others wait for the event loop.
    data = await run_sync(lambda: _JSON.dump_json(status).decode())
    return ServerSentEvent(raw_data=data, event="job", id=None if since is None else str(since))


async def _known(job_id: JobId, backend: BackendDep) -> JobStatus:
    """The job; asked before the stream begins, while there can still be another answer."""
    return await run_sync(backend.client.status, job_id)


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def events(
    job_id: JobId,
    backend: BackendDep,
    status: Annotated[JobStatus, Depends(_known)],
    since: Since = -1,
) -> AsyncIterator[ServerSentEvent]:
    """Events `job`: where the job stands, with those of its cells that are new. The first ones
    have all cells, in pages; a page that is the last of its look has an id. Whoever lost the
    stream gives the last id, as browsers do, and is told what has changed since. It ends with the
    job. While the coordinator is away the job has `trouble`."""
    while True:
        try:
            now = await run_sync(backend.client.status, job_id)
            page = Page(limit=MAX_PAGE, since=since)
            cells, last = await run_sync(backend.client.changed_cells, job_id, page)
            if last < since:  # another queue than the one that was listened to
                since = -1
                continue
            while len(cells) == page.limit:  # there is more
                yield await _event(replace(now, cells=cells))
                page = replace(page, offset=page.offset + page.limit)
                # Not its number: what changed since the first page is to be asked for.
                cells, _ = await run_sync(backend.client.changed_cells, job_id, page)
            # Only now: an end is not told before its cells, should the coordinator go in between.
            status, since = now, last
            yield await _event(replace(status, cells=cells), since)
            if status.ended:
                return
        except ServiceError as error:
            yield await _event(replace(status, trouble=str(error)))
        await anyio.sleep(POLL_SECONDS)
