"""Routes of jobs: list, status, cells, table."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from stn_cluster.client.schemas import MAX_PAGE, CellPage, CellQuery, JobId
from stn_cluster.grid import Frozen
from stn_cluster.queue.jobs import CellState, JobPage, JobStatus, Page
from stn_cluster.report.evaluation_tables import transfer
from stn_cluster.server.backend import Backend, BackendDep
from stn_cluster.server.result_routes import (
    OF_EVALUATIONS,
    TABLES,
    EvaluationTableQuery,
    TableQuery,
    documented,
    render_table,
)

router = APIRouter(tags=["jobs"])


class PageQuery(CellQuery):
    """Selection of a job's cells."""

    state: list[CellState] = []
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000


class JobsQuery(Frozen):
    """Selection of jobs."""

    order: Literal["oldest", "newest"] = "oldest"  # first
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] | None = None  # none: all


@router.get("/jobs")
def jobs(query: Annotated[JobsQuery, Query()], backend: BackendDep) -> list[JobStatus]:
    """Jobs, without their cells; all of them unless there is a limit."""
    limit = -1 if query.limit is None else query.limit
    return backend.client.jobs(JobPage(query.offset, limit, query.order == "newest"))


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


@router.get(
    "/jobs/{job_id}/table",
    response_class=PlainTextResponse,
    responses=documented(TABLES.values()),
)
def job_table(
    job_id: JobId, query: Annotated[TableQuery, Query()], backend: BackendDep
) -> PlainTextResponse:
    """The comparison table of a job's cells; of a job of evaluations alone, theirs, as `transfer`
    has it."""
    keys, evaluations = _items(backend, job_id)
    if not keys:
        return _transfer(backend, query, evaluations)
    return render_table(backend, query, {**query.used(), "key": keys})


@router.get(
    "/jobs/{job_id}/transfer",
    response_class=PlainTextResponse,
    responses=documented(OF_EVALUATIONS.values()),
)
def job_transfer(
    job_id: JobId, query: Annotated[EvaluationTableQuery, Query()], backend: BackendDep
) -> PlainTextResponse:
    """A job's evaluations, those of cells that it trains too, at all severities that it has."""
    _, evaluations = _items(backend, job_id)
    return _transfer(backend, query, evaluations)


def _items(backend: Backend, job_id: str) -> tuple[list[str], list[str]]:
    """Keys of a job's cells, and ids of its evaluations."""
    names = [status.cell for status in backend.job_cells(job_id)]
    evaluations = [name.key for name in names if name.tested_on is not None]
    return [name.key for name in names if name.tested_on is None], evaluations


def _transfer(
    backend: Backend, query: TableQuery | EvaluationTableQuery, evaluations: list[str]
) -> PlainTextResponse:
    text = transfer(backend.store, query.format, evaluations=evaluations, **query.used())
    return PlainTextResponse(text, media_type=OF_EVALUATIONS[query.format])
