"""Routes to results and tables, from the store as it is at the moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, StreamingResponse

from stn_cluster.client.schemas import JobId, ResultFilters, Word
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.server.backend import BackendDep
from stn_cluster.store import export

router = APIRouter(tags=["results"])
_MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_TABLES = {"text": "text/plain", "md": "text/markdown", "csv": "text/csv", "latex": "text/plain"}
_TABLES["html"] = "text/html"


class ResultQuery(ResultFilters):
    """Selection and format of rows."""

    format: Literal["json", "csv", "parquet"] = "json"
    latest: bool = True  # each cell's current result only, rather than every attempt that ended it


class TableQuery(ResultFilters):
    """Selection and format of the table."""

    format: Literal["text", "md", "csv", "latex", "html"] = "text"
    reference: Word = "paper"


def _documented(media: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {} for kind in media}}}


@router.get("/results", response_class=StreamingResponse, responses=_documented(_MEDIA.values()))
def results(asked: Annotated[ResultQuery, Query()], backend: BackendDep) -> StreamingResponse:
    """Rows of the store in the order of their acceptance, streamed."""
    tables = backend.store.scan(asked.given(), asked.latest)
    return StreamingResponse(export(tables, asked.format), media_type=_MEDIA[asked.format])


@router.get("/table", response_class=PlainTextResponse, responses=_documented(_TABLES.values()))
def table(asked: Annotated[TableQuery, Query()], backend: BackendDep) -> PlainTextResponse:
    """The comparison table: mean error over seeds, and the reference's beside it."""
    compared = comparison_table(backend.store, asked.reference, **asked.given())
    return PlainTextResponse(render(compared, asked.format), media_type=_TABLES[asked.format])


@router.get(
    "/jobs/{job_id}/table",
    response_class=PlainTextResponse,
    responses=_documented(_TABLES.values()),
)
def job_table(
    job_id: JobId, asked: Annotated[TableQuery, Query()], backend: BackendDep
) -> PlainTextResponse:
    """The comparison table of a job's cells."""
    keys = [status.cell.key for status in backend.client.cells(job_id)]
    compared = comparison_table(backend.store, asked.reference, **{**asked.given(), "key": keys})
    return PlainTextResponse(render(compared, asked.format), media_type=_TABLES[asked.format])
