"""Routes to the history of cells: their attempts and logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from stn_cluster.client.schemas import AttemptId, AttemptRecord, Key
from stn_cluster.errors import NotFoundError
from stn_cluster.plain_text import plain_lines
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["cells"])
CellName = Annotated[str, Query(min_length=1, max_length=300, description="A label or a key.")]


@router.get("/attempts")
def attempts(cell: CellName, backend: BackendDep) -> list[AttemptRecord]:
    """Attempts at a cell, oldest first; if several cells have the label, at all of them."""
    return [AttemptRecord.of(attempt) for attempt in backend.client.attempts(cell)]


@router.get("/logs/{key}/{attempt}", response_class=PlainTextResponse)
def log(key: Key, attempt: AttemptId, backend: BackendDep) -> str:
    """Log of an attempt so far."""
    text = backend.client.log_of(key, attempt)
    if text is None:
        raise NotFoundError(f"no log of attempt {attempt} of cell {key}")
    return plain_lines(text)  # an older version wrote what user code printed as it was
