"""Routes of results and tables, read from the store at each request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, StreamingResponse

from stn_cluster.client.schemas import OUTDATED_HEADER, JobId, ResultFilters, Word
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table, shown_keys
from stn_cluster.server.backend import Backend, BackendDep
from stn_cluster.store import Store, export, load_results

router = APIRouter(tags=["results"])
MAX_LINES = 20  # in a header
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


def _documented(media: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {} for kind in media}}}


@router.get("/results", response_class=StreamingResponse, responses=_documented(_MEDIA.values()))
def results(query: Annotated[ResultQuery, Query()], backend: BackendDep) -> StreamingResponse:
    """Rows of the store in the order of their acceptance, streamed."""
    store = backend.store
    tables = store.scan(query.used(), query.latest)
    outdated = _outdated(
        store, lambda: load_results(store, **query.used())["key"] if query.latest else ()
    )
    body = export(tables, query.format)
    return StreamingResponse(body, media_type=_MEDIA[query.format], headers=outdated)


@router.get("/table", response_class=PlainTextResponse, responses=_documented(_TABLES.values()))
def table(query: Annotated[TableQuery, Query()], backend: BackendDep) -> PlainTextResponse:
    """The comparison table: mean error over seeds, and the reference's number."""
    return _table(backend, query, query.used())


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
    return _table(backend, query, {**query.used(), "key": keys})


def _table(backend: Backend, query: TableQuery, filters: dict[str, Any]) -> PlainTextResponse:
    table = comparison_table(
        backend.store,
        query.reference,
        interval=query.interval,
        correction=query.correction,
        data_root=backend.data_root,
        **filters,
    )
    outdated = _outdated(backend.store, lambda: shown_keys(backend.store, **filters))
    text = render(table, query.format)
    return PlainTextResponse(text, media_type=_TABLES[query.format], headers=outdated)


def _outdated(store: Store, keys: Callable[[], Iterable[str]]) -> dict[str, str]:
    """A header with lines, as JSON, on results that are of an older version of a plug-in."""
    lines = store.outdated(keys)[:MAX_LINES]
    return {OUTDATED_HEADER: json.dumps(lines)} if lines else {}
