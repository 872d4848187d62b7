"""How much of the images a distortion moves out of its canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stn_cluster.data.distorted_images import DistortedImages, no_progress
from stn_cluster.data.distortions import Distortion
from stn_cluster.data.source_points import projected, source_matrix, source_points
from stn_cluster.data.stream import as_images, isolated_distortion, user_state
from stn_cluster.dataset_info import WHITE
from stn_cluster.stn.grids import pixel_centres

SIDE = 8  # pieces of each edge of the canvas, which a spline may bend
BATCH = 500  # images looked at a time


class Ink(NamedTuple):
    """Ink of each image, (N,) float64: the sum of absolute differences from the background."""

    all: Tensor
    lost: Tensor  # of it, at pixels that no point of the canvas reads

    @property
    def share_lost(self) -> float:
        """Share that is lost of all images' ink, 0 to 1."""
        total = float(self.all.sum())
        return float(self.lost.sum()) / total if total else 0.0


def ink_of(
    images: DistortedImages, pixels: Tensor, progressed: Callable[[], None] = no_progress
) -> Ink | None:
    """How much ink the images have, and how much of it a distortion moves out of the canvas.

    Args:
        images: the distorted images.
        pixels: the undistorted ones, (M, H, W) or (M, C, H, W) uint8; image i is a version of i mod
            M.
        progressed: called after each batch.

    Returns:
        None for a plug-in's distortion without a `grid`.
    """
    parameters, distortion = images.parameters(), images.distortion()
    frame = pixel_centres((pixels.shape[-2], pixels.shape[-1]))
    state = user_state(images.cell, torch.device("cpu"), "edge")
    background = torch.tensor(images.cell.data.background, dtype=torch.float32) / WHITE
    parts = []
    for first in range(0, len(images), BATCH):
        drawn = parameters[first : first + BATCH]
        with isolated_distortion(images.cell, state):
            seen = seen_points(distortion, drawn, frame)
        if seen is None:
            return None
        places = torch.arange(first, first + len(drawn)) % len(pixels)
        ink = (as_images(pixels[places]) - background.view(-1, 1, 1)).abs().sum(1).flatten(1)
        parts.append((ink.sum(1, dtype=torch.float64), (ink * ~seen).sum(1, dtype=torch.float64)))
        progressed()
    return Ink(*map(torch.cat, zip(*parts, strict=True)))


def seen_points(distortion: Distortion, parameters: Tensor, points: Tensor) -> Tensor | None:
    """Which points of the undistorted image are on the canvas.

    Those of a homography are mapped back. With any other distortion, a point is on the canvas if it
    is inside of the closed line to which the canvas's edge is mapped: it goes round it.

    Args:
        distortion, parameters: (N, P).
        points: (K, 2) float64; the frame is -1 to 1.

    Returns:
        (N, K) bool; None for a plug-in's distortion without a `grid`.
    """
    if (matrix := source_matrix(distortion, parameters.double())) is not None:
        back = projected(torch.linalg.inv(matrix), points.expand(len(matrix), -1, -1))
        return (back.abs() <= 1).all(2)
    edge = canvas_edge(SIDE).expand(len(parameters), -1, -1)
    line = source_points(distortion, parameters, edge)
    return None if line is None else winding_numbers(line.float(), points.float()) != 0


def canvas_edge(side: int) -> Tensor:
    """(4 * side, 2) float64: points of the square of -1 to 1, once round from top left."""
    ahead = torch.linspace(-1, 1, side + 1, dtype=torch.float64)[:-1]
    one = torch.ones_like(ahead)
    edges = ((ahead, -one), (one, ahead), (-ahead, one), (-one, -ahead))
    return torch.cat([torch.stack(edge, 1) for edge in edges])


def winding_numbers(lines: Tensor, points: Tensor) -> Tensor:
    """How often each closed line of (N, E, 2) goes round each point of (K, 2): (N, K) int32.

    Sunday's algorithm (2001): edges that cross the point's height on its right side, by direction.
    """
    x, y = points.unbind(1)
    count = torch.zeros(len(lines), len(points), dtype=torch.int32)
    for start, end in zip(lines.unbind(1), lines.roll(-1, 1).unbind(1), strict=True):
        (x0, y0), (x1, y1) = start.T[..., None], end.T[..., None]
        side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
        count += ((y0 <= y) & (y1 > y) & (side > 0)).int()
        count -= ((y0 > y) & (y1 <= y) & (side < 0)).int()
    return count
