"""Where a distortion reads any point of its canvas, not only the centres of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cluster.data.distortions import (
    CornerShift,
    Distortion,
    GridDistortion,
    Similarity,
    Spline,
    Undistorted,
)
from stn_cluster.stn.grids import HORIZON, homogeneous, spline_matrix


def source_points(distortion: Distortion, parameters: Tensor, points: Tensor) -> Tensor | None:
    """Source positions of points of the canvas; float64.

    Args:
        distortion: a built-in one, or one with a `grid`.
        parameters: (N, P).
        points: (N, K, 2), x and y; the canvas is -1 to 1, and points may be outside of it.

    Returns:
        (N, K, 2), in units in which the frame is -1 to 1; None for a distortion without a `grid`.
        A plug-in's grid is interpolated, and beyond its outermost points continued, linearly.
    """
    exact, points = parameters.double(), points.double()
    if (matrix := source_matrix(distortion, exact)) is not None:
        return projected(matrix, points)
    if isinstance(distortion, Spline):
        return _spline(distortion, exact, points)
    if isinstance(distortion, GridDistortion):
        return read_grid(distortion.grid(parameters), points)
    return None


def source_matrix(distortion: Distortion, parameters: Tensor) -> Tensor | None:
    """Homographies from the canvas, -1 to 1, to the frame, -1 to 1.

    Args:
        distortion: any.
        parameters: (N, P) float64.

    Returns:
        (N, 3, 3); None for a distortion that is none.
    """
    if isinstance(distortion, CornerShift):
        return distortion.matrix(parameters)
    if isinstance(distortion, Similarity):
        angle, scale, x, y = parameters.unbind(1)
    elif isinstance(distortion, Undistorted):
        angle = x = y = parameters.new_zeros(len(parameters))
        scale = torch.ones_like(angle)
    else:
        return None
    stretch = distortion.canvas / distortion.frame
    cos, sin = (f(torch.deg2rad(angle)) / scale * stretch for f in (torch.cos, torch.sin))
    x, y, zero = x / (distortion.canvas / 2), y / (distortion.canvas / 2), torch.zeros_like(x)
    rows = (
        (cos, sin, -(cos * x + sin * y)),
        (-sin, cos, sin * x - cos * y),
        (zero, zero, torch.ones_like(x)),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def projected(matrix: Tensor, points: Tensor) -> Tensor:
    """Maps points (N, K, 2) by homographies (N, 3, 3)."""
    mapped = homogeneous(points) @ matrix.transpose(1, 2)
    scale = mapped[..., 2:]
    horizon = torch.full_like(scale, HORIZON).copysign(scale)  # as in `homography`
    return mapped[..., :2] / torch.where(scale.abs() < HORIZON, horizon, scale)


def _spline(distortion: Spline, parameters: Tensor, points: Tensor) -> Tensor:
    span = distortion.frame / distortion.canvas if distortion.on_frame else 1.0
    line = torch.linspace(-span, span, distortion.points, dtype=torch.float64, device=points.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    control = torch.stack([columns, rows], -1).view(-1, 2)
    matrix = spline_matrix(control, points.reshape(-1, 2)).view(*points.shape[:2], -1)
    moves = parameters.view(len(parameters), -1, 2) * (2 / distortion.canvas)
    return (points + matrix @ moves) * (distortion.canvas / distortion.frame)


def read_grid(grid: Tensor, points: Tensor) -> Tensor:
    """A grid's values at any points: bilinear between the centres of pixels, and continued beyond.

    Args:
        grid: (N, H, W, 2), values at the centres of pixels; H and W at least 2.
        points: (N, K, 2), x and y; -1 and 1 are the outer edges of the outermost pixels.

    Returns:
        (N, K, 2) float64.
    """
    n, height, width, _ = grid.shape
    corners, weights = [], []
    for axis, size in enumerate((width, height)):
        position = ((points[..., axis].double() + 1) * size - 1) / 2
        first = position.detach().floor().clamp(0, size - 2)
        corners.append(first.long())
        weights.append((position - first).unsqueeze(-1))
    flat = grid.double().reshape(n, height * width, 2)
    (column, row), (across, down) = corners, weights

    def value(below: int, right: int) -> Tensor:
        place = (row + below) * width + column + right
        return flat.gather(1, place.unsqueeze(-1).expand(-1, -1, 2))

    upper = value(0, 0) * (1 - across) + value(0, 1) * across
    lower = value(1, 0) * (1 - across) + value(1, 1) * across
    return upper * (1 - down) + lower * down
