"""Routes of one cell: what there is of it, its curve, its test images, its logs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response

from stn_cluster.client.schemas import AttemptId, AttemptRecord, Key
from stn_cluster.document.sheets import ACROSS
from stn_cluster.errors import NotFoundError
from stn_cluster.exploring.cell_details import Wanted, confusion, curve, predictions
from stn_cluster.exploring.cell_view import cell_view
from stn_cluster.plain_text import plain_lines
from stn_cluster.server.store_backend import StoreDep

router = APIRouter(tags=["cells"])
Attempt = Annotated[AttemptId | None, Query(description="Default: the current result's.")]
Class = Annotated[int | None, Query(ge=0, lt=65_535)]
Index = Annotated[int, Query(ge=0, lt=2**31)]
MOST_IMAGES = 256  # of a sheet
FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}
_PNG: dict[int | str, dict[str, Any]] = {HTTPStatus.OK.value: {"content": {"image/png": {}}}}


@router.get("/cells/{key}")
def cell(key: Key, backend: StoreDep) -> dict[str, Any]:
    """A cell: its spec, its current result, its attempts, and what else the store has of it."""
    attempts = backend.attempts(key)
    try:
        found = cell_view(backend.store, key)
    except NotFoundError:
        if not attempts:
            raise
        found = {"key": key, "state": "queued", "attempts": [], "result": None}
    return found | {"attempts": _with_queued(found["attempts"], attempts)}


def _with_queued(
    stored: list[dict[str, Any]], queued: list[AttemptRecord] | Any
) -> list[dict[str, Any]]:
    """Attempts of the store and of the queue, newest first."""
    by_id = {attempt["attempt"]: attempt for attempt in stored}
    shown = []
    for record in reversed(queued):
        known = by_id.pop(record.attempt, {})
        of_queue = {
            "attempt": record.attempt,
            "job_id": record.job_id,
            "state": record.ending or "running",
            "started_at": record.started_at.isoformat(),
            "ended_at": record.ended_at.isoformat() if record.ended_at else None,
            "charged": record.charged,
            "pack_size": record.pack_size,
            "node": record.worker.node,
            "reason": record.reason or known.get("reason"),
        }
        shown.append(known | of_queue)
    return shown + list(by_id.values())


@router.get("/cells/{key}/curve")
def cell_curve(key: Key, backend: StoreDep, attempt: Attempt = None) -> dict[str, Any]:
    """Learning curve of an attempt."""
    return curve(backend.store, key, attempt)


@router.get("/cells/{key}/confusion")
def cell_confusion(key: Key, backend: StoreDep, attempt: Attempt = None) -> dict[str, Any]:
    """Confusion matrix of an attempt: true classes down, predicted ones across."""
    return confusion(backend.store, key, attempt)


@router.get("/cells/{key}/predictions")
def cell_predictions(
    key: Key,
    backend: StoreDep,
    attempt: Attempt = None,
    which: Literal["worst", "wrong", "all"] = "worst",
    truth: Class = None,
    predicted: Class = None,
    offset: Index = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_IMAGES)] = 48,
) -> dict[str, Any]:
    """Test images of an attempt with what its network took them for, and where they are drawn."""
    wanted = Wanted(which, truth, predicted, offset, limit)
    found = predictions(backend.store, key, attempt, wanted, backend.data_root)
    indices = "".join(f"&index={image['index']}" for image in found["images"])
    sheet = f"/v1/cells/{key}/images.png?attempt={found['attempt']}{indices}"
    return found | {"across": ACROSS, "sheet": sheet if indices else None}


@router.get("/cells/{key}/images.png", response_class=Response, responses=_PNG)
def cell_images(
    key: Key,
    backend: StoreDep,
    index: Annotated[list[Index], Query(min_length=1, max_length=MOST_IMAGES)],
    attempt: Attempt = None,
) -> Response:
    """Test images of a cell as its network saw them, 16 in a row, all of the same size."""
    request = {"key": key, "attempt": attempt, "images": index}
    headers = FOR_GOOD if attempt else {}
    content = backend.drawings.ask("images", request)
    return Response(content, media_type="image/png", headers=headers)


@router.get("/cells/{key}/transformations.png", response_class=Response, responses=_PNG)
def cell_transformations(
    key: Key,
    backend: StoreDep,
    attempt: Attempt = None,
    choice: Literal["random", "worst", "improved"] = "random",
    count: Annotated[int, Query(ge=1, le=16)] = 6,
    image: Annotated[list[Index] | None, Query(max_length=16)] = None,
    theme: Literal["light", "dark"] = "light",
) -> Response:
    """Figure of the cell's transformer, as in the paper: test images, the predicted sampling grid
    on them, outputs."""
    request = {
        "key": key,
        "attempt": attempt,
        "choice": choice,
        "count": count,
        "images": image or [],
        "theme": theme,
    }
    content = backend.drawings.ask("transformations", request)
    return Response(content, media_type="image/png", headers=FOR_GOOD if attempt else {})


@router.get("/logs/{key}/{attempt}", response_class=PlainTextResponse)
def log(key: Key, attempt: AttemptId, backend: StoreDep) -> str:
    """Log of an attempt so far."""
    text = backend.log_of(key, attempt)
    if text is None:
        raise NotFoundError(f"no log of attempt {attempt} of cell {key}")
    return plain_lines(text)  # an older version wrote what user code printed as it was
