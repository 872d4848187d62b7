"""What networks make of a drawing: their guesses, and what their transformers do to it."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stn_cluster.drawing.drawn_image import as_frame, decode, encode
from stn_cluster.drawing.hand_distortion import distort_by_hand
from stn_cluster.drawing.kept_networks import Network, network
from stn_cluster.drawing.tasks import Workplace
from stn_cluster.errors import UserError, error_line
from stn_cluster.figures.transformations import POINTS
from stn_cluster.grid import Cell
from stn_cluster.stn.transformer import SpatialTransformer

TURNS = 180  # degrees, each way, that a drawing is turned until a network fails
FAR = 1000.0  # of grid points, whose image is -1 to 1; a projective one may be infinitely far
TURNED_BATCH = 61  # images at a time


def draw(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """JSON of the answers of networks to a drawing.

    Args:
        workplace: its store.
        request: dataset, side, channels, pixels, distort, keys: see the page's interface.

    Raises:
        UserError: the drawing is not what it should be, or no cell has the data set.
    """
    started = time.perf_counter()
    pixels = decode(request)
    drawing: Tensor | None = None
    answers = []
    for key in request["keys"]:
        try:
            one = network(workplace, key)
            drawing = _framed(drawing, pixels, request["dataset"], one.cell)
            image = distort_by_hand(drawing, one.cell, request["distort"])
            answers.append({"key": key} | _answer(one, image))
        except Exception as error:  # user code may raise whatever it likes: others still answer
            answers.append(_failed(key, error))
    shown = None if drawing is None else encode(drawing)
    seconds = time.perf_counter() - started
    found = {"drawing": shown, "answers": answers, "seconds": round(seconds, 4)}
    return json.dumps(found).encode()


def turn_until_it_fails(workplace: Workplace, request: Mapping[str, Any]) -> bytes:
    """JSON of the least angles at which networks change their first guess.

    Args:
        workplace, request: see `draw`.
    """
    pixels = decode(request)
    answers: list[dict[str, Any]] = []
    for key in request["keys"]:
        try:
            one = network(workplace, key)
            drawing = _framed(None, pixels, request["dataset"], one.cell)
            first, angles = _breaking(one, drawing, request["distort"])
            answers.append({"key": key, "first": first} | angles)
        except Exception as error:
            answers.append(_failed(key, error))
    return json.dumps({"answers": answers}).encode()


def _failed(key: str, error: Exception) -> dict[str, Any]:
    """Answer of a network that has none."""
    if isinstance(error, UserError):
        return {"key": key, "error": str(error)}
    traceback.print_exception(error)
    return {"key": key, "error": error_line("".join(traceback.format_exception(error)))}


def _framed(known: Tensor | None, pixels: Tensor, dataset: str, cell: Cell) -> Tensor:
    """The drawing as an image of a cell's data set."""
    if cell.dataset != dataset:
        raise UserError(f"{cell.label} is of the data set {cell.dataset}, not {dataset}", "keys")
    return as_frame(pixels, dataset, cell.data) if known is None else known


@torch.inference_mode()
def _answer(one: Network, image: Tensor) -> dict[str, Any]:
    with _seen(one.model) as seen:
        scores = numbers(one, one.model(image))
    probabilities = scores[0].float().softmax(0)
    best = probabilities.topk(min(2, len(probabilities))).indices.tolist()
    return {
        "input": encode(image[0]),
        "grid": _thinned(seen["grid"][0]) if "grid" in seen else None,
        "output": encode(seen["output"][0]) if "output" in seen else None,
        "probabilities": [round(p, 5) for p in probabilities.tolist()],
        "first": best[0],
        "second": best[1] if len(best) > 1 else None,
    }


def numbers(one: Network, scores: Tensor) -> Tensor:
    """Scores of a network, which are numbers.

    Raises:
        UserError: they are not: its training has diverged, or user code is wrong.
    """
    if not scores.isfinite().all():
        raise UserError(f"{one.cell.label}: its scores are not finite numbers")
    return scores


@contextmanager
def _seen(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Output and grid of a model's first spatial transformer, of what it computes in the block."""
    seen: dict[str, Tensor] = {}
    layer = next((one for one in model.modules() if isinstance(one, SpatialTransformer)), None)
    hooks = []
    if layer is not None:
        for name, module in (("grid", layer.grid), ("output", layer)):
            hooks.append(
                module.register_forward_hook(
                    lambda _module, _given, output, name=name: seen.setdefault(name, output)
                )
            )
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _thinned(grid: Tensor) -> dict[str, Any]:
    """Some points of a grid (H, W, 2), the outermost ones among them."""
    height, width, _ = grid.shape
    rows, columns = (
        torch.linspace(0, size - 1, min(POINTS, size)).round().long() for size in (height, width)
    )
    points = grid[rows[:, None], columns[None, :]].reshape(-1, 2)
    return {"rows": len(rows), "columns": len(columns), "points": rounded(points)}


def rounded(points: Tensor) -> list[list[float]]:
    """Points (n, 2) of a grid as JSON has them, which knows no infinity."""
    near = points.nan_to_num(FAR).clamp(-FAR, FAR)
    return [[round(x, 3), round(y, 3)] for x, y in near.tolist()]


@torch.inference_mode()
def _breaking(
    one: Network, drawing: Tensor, distort: Mapping[str, Any] | None
) -> tuple[int, dict[str, int | None]]:
    """First guess, and the least angle each way, in degrees, at which it is another one."""

    def guesses(angles: list[float]) -> list[int]:
        images = distort_by_hand(drawing, one.cell, distort, angles)
        found: list[int] = numbers(one, one.model(images)).argmax(1).tolist()
        return found

    (first,) = guesses([0.0])
    found: dict[str, int | None] = {}
    for side, sign in (("left", -1), ("right", 1)):
        found[side] = None
        for begin in range(1, TURNS + 1, TURNED_BATCH):
            angles = list(range(begin, min(begin + TURNED_BATCH, TURNS + 1)))
            wrong = [guess != first for guess in guesses([sign * float(a) for a in angles])]
            if any(wrong):
                found[side] = angles[wrong.index(True)]
                break
    return first, found
