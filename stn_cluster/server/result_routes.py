"""Routes of results and tables, read from the store at each request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, StreamingResponse

from stn_cluster.client.schemas import JobId, ResultFilters, Word
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.server.backend import Backend, BackendDep
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
    latest: bool = True  # only each cell's current result, not every attempt that ended a cell


class TableQuery(ResultFilters):
    """Selection and format of the table."""

    format: Literal["text", "md", "csv", "latex", "html"] = "text"
    reference: Word = "paper"
    interval: bool = False  # adds intervals, and marks for what cannot be told from the best
    correction: Word = "holm"  # of the marks: holm or benjamini-hochberg

    def render(self, backend: Backend, **filters: Any) -> PlainTextResponse:
        """The table of the cells that match the filters."""
        rows = comparison_table(
            backend.store,
            self.reference,
            interval=self.interval,
            correction=self.correction,
            data_root=backend.data_root,
            **filters,
        )
        return PlainTextResponse(render(rows, self.format), media_type=_TABLES[self.format])


def _documented(media: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {} for kind in media}}}


@router.get("/results", response_class=StreamingResponse, responses=_documented(_MEDIA.values()))
def results(query: Annotated[ResultQuery, Query()], backend: BackendDep) -> StreamingResponse:
    """Rows of the store in the order of their acceptance, streamed."""
    tables = backend.store.scan(query.used(), query.latest)
    return StreamingResponse(export(tables, query.format), media_type=_MEDIA[query.format])


@router.get("/table", response_class=PlainTextResponse, responses=_documented(_TABLES.values()))
def table(query: Annotated[TableQuery, Query()], backend: BackendDep) -> PlainTextResponse:
    """The comparison table: mean error over seeds, and the reference's number."""
    return query.render(backend, **query.used())


@router.get(
    "/jobs/{job_id}/table",
    response_class=PlainTextResponse,
    responses=_documented(_TABLES.values()),
)
def job_table(
    job_id: JobId, query: Annotated[TableQuery, Query()], backend: BackendDep
) -> PlainTextResponse:
    """The comparison table of a job's cells."""
    keys = [status.cell.key for status in backend.client.cells(job_id)]
    return query.render(backend, **{**query.used(), "key": keys})
