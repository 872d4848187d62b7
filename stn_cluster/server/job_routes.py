"""Routes of jobs: submit, list, status, cancel, retry."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from stn_cluster.client.schemas import (
    MAX_PAGE,
    CellPage,
    CellQuery,
    JobId,
    Rerun,
    Submission,
    Waiting,
)
from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.queue.jobs import CellState, JobStatus, Page
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["jobs"])
CREATED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.CREATED.value: {"model": JobStatus, "description": "The job is new."}
}


class PageQuery(CellQuery):
    """Selection of a job's cells."""

    state: list[CellState] = []
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000


@router.put("/jobs/{job_id}", responses=CREATED)
def submit(
    job_id: JobId, submission: Submission, backend: BackendDep, response: Response
) -> JobStatus:
    """Submits a job under an id that the client chooses, so that it can repeat the request if it
    gets no response. After the response, the job is never lost."""
    job = backend.job(job_id, submission)
    publish_plugins(job.items, backend.store)
    new = backend.client.submit(job)
    response.status_code = HTTPStatus.CREATED if new else HTTPStatus.OK
    return replace(backend.client.status(job_id), left_out=job.left_out)


@router.put("/reruns/{job_id}", responses=CREATED)
def rerun(job_id: JobId, request: Rerun, backend: BackendDep, response: Response) -> JobStatus:
    """Trains cells of the store and of its jobs again, as a new job; their history is kept."""
    job = rerun_job(
        backend.store,
        request.filters.used(),
        data_root=backend.data_root,
        job_id=job_id,
        priority=request.priority,
    )
    publish_plugins(job.cells, backend.store)
    new = backend.client.submit(job)
    response.status_code = HTTPStatus.CREATED if new else HTTPStatus.OK
    return backend.client.status(job_id)


@router.get("/jobs")
def jobs(backend: BackendDep) -> list[JobStatus]:
    """All jobs, oldest first, without their cells."""
    return backend.client.jobs()


@router.get("/jobs/{job_id}")
def status(job_id: JobId, backend: BackendDep) -> JobStatus:
    """Status of a job, without its cells."""
    return backend.client.status(job_id)


@router.get("/jobs/{job_id}/cells")
def cells(job_id: JobId, query: Annotated[PageQuery, Query()], backend: BackendDep) -> CellPage:
    """One page of a job's cells, in the job's order."""
    page = Page(query.offset, query.limit, tuple(query.state), query.used())
    statuses = backend.client.cells(job_id, page)
    more = len(statuses) == query.limit
    return CellPage(statuses, query.offset + query.limit if more else None)


@router.post("/jobs/{job_id}/cancel")
def cancel(job_id: JobId, backend: BackendDep) -> JobStatus:
    """Cancels the job: cells that no other job wants stop."""
    backend.client.cancel(job_id)
    return backend.client.status(job_id)


@router.post("/jobs/{job_id}/retry")
def retry(job_id: JobId, backend: BackendDep) -> Waiting:
    """Queues the job's failed and cancelled cells again."""
    return Waiting(backend.client.retry(job_id))
