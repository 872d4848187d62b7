"""Route to the history of cells: their attempts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from stn_cluster.client.schemas import AttemptRecord
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["cells"])
CellName = Annotated[str, Query(min_length=1, max_length=300, description="A label or a key.")]


@router.get("/attempts")
def attempts(cell: CellName, backend: BackendDep) -> list[AttemptRecord]:
    """Attempts at a cell, oldest first; if several cells have the label, at all of them."""
    return [AttemptRecord.of(attempt) for attempt in backend.client.attempts(cell)]
