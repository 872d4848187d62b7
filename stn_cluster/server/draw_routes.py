"""Routes of drawing: what can be drawn into, and what networks make of a drawing."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field, StringConstraints
from starlette.exceptions import HTTPException

from stn_cluster.client.schemas import Key, Word
from stn_cluster.exploring.drawable import drawable
from stn_cluster.grid import Frozen
from stn_cluster.server.rate_limit import RateLimit
from stn_cluster.server.store_backend import StoreDep

router = APIRouter(tags=["drawing"])
PER_SECOND, BURST = 20, 40  # of one client: a stroke gives at most 17 a second
MOST_KEYS = 64
DRAW_SECONDS = 20.0
BREAKING_SECONDS = 60.0

_limit = RateLimit(PER_SECOND, BURST)
Degrees = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=-512, le=512, allow_inf_nan=False)]
Position = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]
Point = tuple[Position, Position]


class SimilarityByHand(Frozen):
    """Turned clockwise, scaled, then shifted (right, down)."""

    kind: Literal["similarity"]
    angle: Degrees = 0.0
    scale: Annotated[float, Field(ge=0.1, le=5, allow_inf_nan=False)] = 1.0
    shift: tuple[Pixels, Pixels] = (0.0, 0.0)  # px of the data set's frame


class CornersByHand(Frozen):
    """Where the frame's corners go, clockwise from the upper left; the frame is -1 to 1."""

    kind: Literal["corners"]
    corners: Annotated[tuple[Point, ...], Field(min_length=4, max_length=4)]


class PointsByHand(Frozen):
    """Where 4 x 4 control points go, row by row; the frame is -1 to 1."""

    kind: Literal["points"]
    points: Annotated[tuple[Point, ...], Field(min_length=16, max_length=16)]


Distort = Annotated[SimilarityByHand | CornersByHand | PointsByHand, Field(discriminator="kind")]


class Drawing(Frozen):
    """A drawing, or a picture: bytes row by row, of 0 to 255."""

    dataset: Word
    side: Annotated[int, Field(ge=8, le=512, strict=True)]
    channels: Literal[1, 3] = 1
    pixels: Annotated[str, StringConstraints(max_length=math.ceil(512 * 512 * 3 / 3) * 4)]
    distort: Distort | None = None


class Asked(Drawing):
    """A drawing for several cells."""

    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=MOST_KEYS)]


class AskedOne(Drawing):
    """A drawing for one cell."""

    key: Key


def _not_too_often(request: Request) -> None:
    wait = _limit.wait(request.client.host if request.client else "")
    if wait:
        headers = {"Retry-After": str(math.ceil(wait))}
        raise HTTPException(
            HTTPStatus.TOO_MANY_REQUESTS, f"at most {PER_SECOND} drawings a second", headers
        )


LIMITED = [Depends(_not_too_often)]


@router.get("/draw")
def what(backend: StoreDep) -> dict[str, Any]:
    """Data sets and cells that can be drawn into."""
    return drawable(backend.store)


@router.post("/draw", response_class=Response, dependencies=LIMITED)
def draw(asked: Asked, backend: StoreDep) -> Response:
    """Answers of networks to a drawing: input, grid, output, probabilities, two guesses."""
    return _answer(backend, "draw", asked, DRAW_SECONDS)


@router.post("/draw/layers", response_class=Response, dependencies=LIMITED)
def layers(asked: AskedOne, backend: StoreDep) -> Response:
    """Activations of one network's layers for a drawing."""
    return _answer(backend, "layers", asked, DRAW_SECONDS)


@router.post("/draw/breaking", response_class=Response, dependencies=LIMITED)
def breaking(asked: Asked, backend: StoreDep) -> Response:
    """How far a drawing can be turned until each network changes its first guess."""
    return _answer(backend, "breaking", asked, BREAKING_SECONDS)


def _answer(backend: StoreDep, task: str, asked: Drawing, seconds: float) -> Response:
    content = backend.drawings.ask(task, asked.model_dump(mode="json"), seconds)
    return Response(content, media_type="application/json")
