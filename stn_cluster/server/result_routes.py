"""Routes of results and tables, read from the store at each request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from stn_cluster.client.schemas import OUTDATED_HEADER, ResultFilters, Word
from stn_cluster.evaluate_config import LARGEST_SEVERITY, LARGEST_WORST_OF
from stn_cluster.report.evaluation_tables import robustness, transfer
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table, shown_keys
from stn_cluster.server.store_backend import StoreBackend, StoreDep
from stn_cluster.store import Store, as_file, export, load_evaluations, load_results

router = APIRouter(tags=["results"])
MAX_LINES = 20  # in a header
_MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
TABLES = {"text": "text/plain", "md": "text/markdown", "csv": "text/csv", "latex": "text/plain"}
TABLES["html"] = "text/html"
OF_EVALUATIONS = {**TABLES, "json": "application/json"}


class ResultQuery(ResultFilters):
    """Selection and format of rows."""

    format: Literal["json", "csv", "parquet"] = "json"
    latest: bool = True  # only each cell's current result, not every attempt that ended a cell


class EvaluationFilters(ResultFilters):
    """Filters of evaluations: those of the cells, and of the test sets."""

    on: list[Word] = []
    severity: list[Annotated[float, Query(ge=0, le=LARGEST_SEVERITY)]] = []
    worst_of: list[Annotated[int, Query(ge=1, le=LARGEST_WORST_OF)]] = []

    def used(self) -> dict[str, Sequence[Any]]:
        """Filters with values, by name."""
        own: dict[str, Sequence[Any]] = {
            "on": self.on,
            "severity": self.severity,
            "worst_of": self.worst_of,
        }
        return super().used() | {name: values for name, values in own.items() if values}


class EvaluationQuery(EvaluationFilters):
    """Selection and format of evaluations."""

    format: Literal["json", "csv", "parquet"] = "json"


class EvaluationTableQuery(EvaluationFilters):
    """Selection and format of a table of evaluations."""

    format: Literal["text", "md", "csv", "latex", "html", "json"] = "text"


class TableQuery(ResultFilters):
    """Selection and format of the table."""

    format: Literal["text", "md", "csv", "latex", "html"] = "text"
    reference: Word = "paper"
    interval: bool = False  # adds intervals, and marks for what cannot be told from the best
    correction: Word = "holm"  # of the marks: holm or benjamini-hochberg


def documented(media: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """Responses of a route, by their media types."""
    return {200: {"content": {kind: {} for kind in media}}}


@router.get("/results", response_class=StreamingResponse, responses=documented(_MEDIA.values()))
def results(query: Annotated[ResultQuery, Query()], backend: StoreDep) -> StreamingResponse:
    """Rows of the store in the order of their acceptance, streamed."""
    store = backend.store
    tables = store.scan(query.used(), query.latest)
    outdated = _outdated(
        store, lambda: load_results(store, **query.used())["key"] if query.latest else ()
    )
    body = export(tables, query.format)
    return StreamingResponse(body, media_type=_MEDIA[query.format], headers=outdated)


@router.get("/evaluations", response_class=Response, responses=documented(_MEDIA.values()))
def evaluations(query: Annotated[EvaluationQuery, Query()], backend: StoreDep) -> Response:
    """Evaluations of the cells' current results, as `load_evaluations` gives them."""
    rows = load_evaluations(backend.store, predictions=False, **query.used())
    return Response(as_file(rows, query.format), media_type=_MEDIA[query.format])


@router.get(
    "/transfer",
    response_class=PlainTextResponse,
    responses=documented(OF_EVALUATIONS.values()),
)
def transfer_table(
    query: Annotated[EvaluationTableQuery, Query()], backend: StoreDep
) -> PlainTextResponse:
    """Errors of cells that were trained on one distortion and tested on others."""
    text = transfer(backend.store, query.format, **query.used())
    return PlainTextResponse(text, media_type=OF_EVALUATIONS[query.format])


@router.get(
    "/robustness",
    response_class=PlainTextResponse,
    responses=documented(OF_EVALUATIONS.values()),
)
def robustness_table(
    query: Annotated[EvaluationTableQuery, Query()], backend: StoreDep
) -> PlainTextResponse:
    """Errors of cells by the severity of the test distortion."""
    text = robustness(backend.store, query.format, **query.used())
    return PlainTextResponse(text, media_type=OF_EVALUATIONS[query.format])


@router.get("/table", response_class=PlainTextResponse, responses=documented(TABLES.values()))
def table(query: Annotated[TableQuery, Query()], backend: StoreDep) -> PlainTextResponse:
    """The comparison table: mean error over seeds, and the reference's number."""
    return render_table(backend, query, query.used())


def render_table(
    backend: StoreBackend, query: TableQuery, filters: dict[str, Any]
) -> PlainTextResponse:
    """The comparison table of the cells that match filters."""
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
    return PlainTextResponse(text, media_type=TABLES[query.format], headers=outdated)


def _outdated(store: Store, keys: Callable[[], Iterable[str]]) -> dict[str, str]:
    """A header with lines, as JSON, on results that are of an older version of a plug-in."""
    lines = store.outdated(keys)[:MAX_LINES]
    return {OUTDATED_HEADER: json.dumps(lines)} if lines else {}
