"""Routes that change jobs: submit, cancel, retry, rerun."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from stn_cluster.client.schemas import JobId, Rerun, Submission, Waiting
from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.cluster.publish_plugins import publish_plugins
from stn_cluster.queue.jobs import JobStatus
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["jobs"])
CREATED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.CREATED.value: {"model": JobStatus, "description": "The job is new."}
}


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


@router.post("/jobs/{job_id}/cancel")
def cancel(job_id: JobId, backend: BackendDep) -> JobStatus:
    """Cancels the job: cells that no other job wants stop."""
    backend.client.cancel(job_id)
    return backend.client.status(job_id)


@router.post("/jobs/{job_id}/retry")
def retry(job_id: JobId, backend: BackendDep) -> Waiting:
    """Queues the job's failed and cancelled cells again."""
    return Waiting(backend.client.retry(job_id))
