"""Distortions and networks written anew, in plain PyTorch and SciPy, to compare ours with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from stn_cluster.grid import Cell

CORNERS = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])  # clockwise from top left


def distorted(cell: Cell, images: Tensor, parameters: Tensor) -> Tensor:
    """Images (N, 1, H, W) as the distortion of a cell leaves them, by given parameters; float64."""
    canvas, frame = cell.canvas, cell.data.frame
    drawn = parameters.double().numpy()
    where = {"R": _similar, "RTS": _similar, "P": _projected, "E": _bent, "clean": _still}
    grid = np.stack([where[cell.distortion_name](cell, row) for row in drawn])
    positions = torch.from_numpy(grid).view(len(grid), canvas, canvas, 2) / (frame / 2)
    return F.grid_sample(images.double(), positions, align_corners=False)


def _pixels(canvas: int) -> Any:
    """(canvas^2, 2): x and y of the centres of pixels, in px from the canvas's centre."""
    line = np.arange(canvas) + 0.5 - canvas / 2
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def _still(cell: Cell, row: Any) -> Any:
    return _pixels(cell.canvas)


def _similar(cell: Cell, row: Any) -> Any:
    angle, scale, *shift = row
    turn = math.radians(angle)
    back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return (_pixels(cell.canvas) - shift) @ back.T / scale


def _projected(cell: Cell, row: Any) -> Any:
    """The image fills the canvas; the homography from moved corners to its corners."""
    half = cell.canvas / 2
    moved = row[0] * half * CORNERS + row[1:].reshape(4, 2)
    equations, values = [], []
    for (x, y), (u, v) in zip(moved, CORNERS * cell.data.frame / 2, strict=True):
        equations += [
            [x, y, 1, 0, 0, 0, -u * x, -u * y],
            [0, 0, 0, x, y, 1, -v * x, -v * y],
        ]
        values += [u, v]
    matrix = np.append(np.linalg.solve(np.array(equations), np.array(values)), 1).reshape(3, 3)
    points = np.column_stack([_pixels(cell.canvas), np.ones(cell.canvas**2)]) @ matrix.T
    return points[:, :2] / points[:, 2:]


def _bent(cell: Cell, row: Any) -> Any:
    line = np.linspace(-1, 1, 4) * cell.data.frame / 2
    control = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    spline = RBFInterpolator(control, row.reshape(-1, 2), kernel="thin_plate_spline", degree=1)
    pixels = _pixels(cell.canvas)
    return pixels + spline(pixels)


def scores(cell: Cell, weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Scores of the paper's networks, from their weights; float64."""
    w = {name: value.double() for name, value in weights.items()}
    if not cell.model.startswith("ST-"):
        return _classified(w, images, "")
    head = "0.localisation."
    if cell.model == "ST-FCN":
        features = images.flatten(1)
        for layer in ("1", "3", "5"):
            features = F.linear(features, w[f"{head}{layer}.weight"], w[f"{head}{layer}.bias"])
            features = features.relu()
    else:
        halved = F.avg_pool2d(images, 2)
        first = F.conv2d(halved, w[f"{head}1.weight"], w[f"{head}1.bias"])
        second = F.conv2d(
            F.max_pool2d(first.relu(), 2), w[f"{head}2.weight"], w[f"{head}2.bias"]
        ).relu()
        features = F.linear(second.flatten(1), w[f"{head}5.weight"], w[f"{head}5.bias"]).relu()
    theta = F.linear(features, w["0.theta.weight"], w["0.theta.bias"])
    edge = int(cell.settings["transformer_size"])  # type: ignore[arg-type]
    grid = _affine(theta, edge) if cell.transform == "affine" else _spline(theta, edge)
    return _classified(w, F.grid_sample(images, grid, align_corners=False), "1.")


def _affine(theta: Tensor, edge: int) -> Tensor:
    size = [len(theta), 1, edge, edge]
    return F.affine_grid(theta.view(-1, 2, 3), size, align_corners=False)


def _spline(theta: Tensor, edge: int) -> Tensor:
    line = np.linspace(-1, 1, 4)
    control = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    values = theta.view(len(theta), 16, 2).permute(1, 0, 2).flatten(1).numpy()
    spline = RBFInterpolator(control, values, kernel="thin_plate_spline", degree=1)
    points = torch.from_numpy(spline(_pixels(edge) / (edge / 2)))
    return points.view(edge, edge, len(theta), 2).permute(2, 0, 1, 3)


def _classified(w: dict[str, Tensor], images: Tensor, head: str) -> Tensor:
    if f"{head}classifier.weight" not in w:
        features = images.flatten(1)
        for layer in ("1", "3"):
            features = F.linear(features, w[f"{head}{layer}.weight"], w[f"{head}{layer}.bias"])
            features = features.relu()
        return F.linear(features, w[f"{head}5.weight"], w[f"{head}5.bias"])
    maps = images
    for layer in ("0", "1"):
        name = f"{head}features.{layer}"
        maps = F.conv2d(maps, w[f"{name}.weight"], w[f"{name}.bias"]).relu()
        maps = F.max_pool2d(maps, 2, ceil_mode=True)
    return F.linear(maps.flatten(1), w[f"{head}classifier.weight"], w[f"{head}classifier.bias"])
