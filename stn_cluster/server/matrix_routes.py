"""Routes of many cells at once: the matrix, failures, and the comparison of two cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from stn_cluster.client.schemas import CellQuery, JobId, Key, Word
from stn_cluster.exploring.failures import failures
from stn_cluster.exploring.matrix_view import Progress, matrix_view
from stn_cluster.queue.jobs import CellStatus
from stn_cluster.report.comparison import compare
from stn_cluster.report.comparison_text import comparison_fields
from stn_cluster.report.table import cells_of_table, with_results
from stn_cluster.server.kept_answers import KeptAnswers
from stn_cluster.server.store_backend import StoreBackend, StoreDep
from stn_cluster.server.tagged import tagged
from stn_cluster.store import select

router = APIRouter(tags=["results"])
MOST_IMAGES = 500  # that only one of two cells gets


class MatrixQuery(CellQuery):
    """Cells of the matrix."""

    job: JobId | None = None  # only its cells, with their progress
    interval: bool = True  # intervals and marks, which take the predictions
    reference: Word = "paper"


@router.get("/matrix", response_class=Response)
def matrix(
    query: Annotated[MatrixQuery, Query()],
    backend: StoreDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The matrix: entries with their cells, numbers, marks and progress. An answer that has not
    changed is 304."""
    kept: KeptAnswers = backend.kept
    statuses = None if query.job is None else backend.job_cells(query.job)
    found = kept.answer(
        (query.model_dump_json(), backend.store.revision(), _revision(statuses)),
        lambda: _matrix(backend, query, statuses),
    )
    return tagged(found.body, "application/json", found.tag, if_none_match)


def _revision(statuses: Sequence[CellStatus] | None) -> int | None:
    """Hash of all that an answer shows of a job's cells."""
    if statuses is None:
        return None
    return hash(tuple((one.cell.key, one.state.value, one.step) for one in statuses))


def _matrix(
    backend: StoreBackend, query: MatrixQuery, statuses: Sequence[CellStatus] | None
) -> bytes:
    store = backend.store
    progress: dict[str, Progress] = {}
    if statuses is None:
        cells = cells_of_table(store, **query.used())
    else:
        trained = [one for one in statuses if one.cell.tested_on is None]
        cells = select(with_results(store, [one.cell for one in trained]), query.used())
        progress = {
            one.cell.key: Progress(one.state.value, one.step, one.cell.iterations)
            for one in trained
        }
    seconds = store.results(columns=["key", "train_seconds"])
    view = matrix_view(
        store,
        cells.merge(seconds, on="key", how="left"),
        progress=progress,
        interval=query.interval,
        reference=query.reference,
        data_root=backend.data_root,
    )
    return json.dumps(view, allow_nan=False, ensure_ascii=False).encode()


@router.get("/compare")
def compared(a: Key, b: Key, backend: StoreDep) -> dict[str, Any]:
    """Two cells on the same test images: their difference B - A, whether it may be chance, the
    images that only one of them gets, and what differs in their specs."""
    found = compare(a, b, store=backend.store.uri, data_root=backend.data_root)
    (pair,) = found.pairs
    fields = comparison_fields(pair)
    return fields | {
        "key_a": a,
        "key_b": b,
        "only_a": fields["only_a"][:MOST_IMAGES],
        "only_b": fields["only_b"][:MOST_IMAGES],
    }


@router.get("/failures")
def failed(backend: StoreDep, job: JobId | None = None) -> dict[str, Any]:
    """Failed cells, those with the same error together."""
    keys = None
    if job is not None:
        keys = frozenset(one.cell.key for one in backend.job_cells(job))
    return failures(backend.store, keys)
