"""The history of cells: their attempts, and what these said."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from stn_cluster.client.schemas import AttemptId, Key
from stn_cluster.errors import NotFoundError
from stn_cluster.queue import AttemptRow
from stn_cluster.server.backend import ServiceDep

router = APIRouter(tags=["cells"])
CellName = Annotated[str, Query(min_length=1, max_length=300, description="A label or a key.")]


@router.get("/attempts")
def attempts(cell: CellName, service: ServiceDep) -> list[AttemptRow]:
    """A cell's attempts, oldest first; by a label that several cells share, those of them all."""
    return service.client.attempts(cell)


@router.get("/logs/{key}/{attempt}", response_class=PlainTextResponse)
def log(key: Key, attempt: AttemptId, service: ServiceDep) -> str:
    """An attempt's log so far."""
    found = service.client.log_of(key, attempt)
    if found is None:
        raise NotFoundError(f"no log of attempt {attempt} of cell {key}")
    return found
