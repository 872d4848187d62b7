"""Distortions by hand: those of the project, with the parameters that a reader has chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stn_cluster.data.distortions import CornerShift, Similarity, Undistorted, Warp
from stn_cluster.dataset_info import WHITE
from stn_cluster.grid import Cell
from stn_cluster.stn.grids import pixel_centres, spline_matrix
from stn_cluster.stn.sampler import sample

_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))  # clockwise from upper left


def distort_by_hand(
    image: Tensor, cell: Cell, distort: Mapping[str, Any] | None, turned: Sequence[float] = (0.0,)
) -> Tensor:
    """An image on a cell's canvas, distorted.

    Args:
        image: (C, frame, frame) of 0 to 1.
        cell: whose canvas it is.
        distort: see the page's interface; None: not at all.
        turned: degrees, clockwise, by which it is turned beforehand: an image for each.

    Returns:
        (len(turned), C, canvas, canvas) of 0 to 1.
    """
    # Where the cell's own images fill the canvas, so does this one.
    frame = cell.canvas if cell.variant.endswith("enlarged") else cell.data.frame
    background = tuple(value / WHITE for value in cell.data.background)
    sizes: dict[str, Any] = {"canvas": cell.canvas, "frame": frame}
    if any(background):
        sizes["background"] = background
    images = image[None].expand(len(turned), -1, -1, -1)
    turns = torch.tensor(turned, dtype=torch.float32)
    kind = distort["kind"] if distort else "similarity"
    if kind == "similarity":
        return _similarity(images, sizes, distort or {}, turns, cell.data.frame)
    if turns.any():  # what is distorted is the turned image
        own = sizes | dict.fromkeys(("canvas", "frame"), image.shape[-1])
        images = _similarity(images, own, {}, turns, cell.data.frame)
    assert distort is not None
    return (_corners if kind == "corners" else _points)(images, sizes, distort)


def _similarity(
    images: Tensor,
    sizes: Mapping[str, Any],
    distort: Mapping[str, Any],
    turns: Tensor,
    unit: int,
) -> Tensor:
    """Turned, scaled and shifted; the shift is in pixels of a frame of `unit`."""
    x, y = distort.get("shift", (0.0, 0.0))
    angle, scale = distort.get("angle", 0.0), distort.get("scale", 1.0)
    if not turns.any() and (angle, scale, x, y) == (0, 1, 0, 0) and sizes["frame"] == unit:
        whole = Undistorted(**sizes)  # its pixels stay what they are
        return whole.apply(images, images.new_empty(len(images), 0))
    factor = sizes["frame"] / unit
    one = images.new_tensor([angle, scale, x * factor, y * factor])
    parameters = one.repeat(len(images), 1)
    parameters[:, 0] += turns
    warp = Similarity(degrees=180, scale=(1, 1), shift=True, **sizes)
    return warp.apply(images, parameters)


def _corners(images: Tensor, sizes: Mapping[str, Any], distort: Mapping[str, Any]) -> Tensor:
    """The homography that moves the frame's corners to where they shall be."""
    warp = CornerShift(diagonal=False, enlarged=False, **sizes)
    wanted = images.new_tensor(distort["corners"])
    moves = (wanted - images.new_tensor(_CORNERS)) * (warp.frame / 2)
    parameters = torch.cat([images.new_ones(1), moves.flatten()])
    return warp.apply(images, parameters.repeat(len(images), 1))


def _points(images: Tensor, sizes: Mapping[str, Any], distort: Mapping[str, Any]) -> Tensor:
    """The thin plate spline that moves 4 x 4 control points of the frame to where they shall be.

    Each output pixel is read where the spline from the points' new places to their old ones maps
    it: at a point's new place is what was at its old one.
    """
    warp: Warp = Undistorted(**sizes)
    line = torch.linspace(-1, 1, 4, dtype=torch.float64)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    old = torch.stack([columns, rows], -1).view(-1, 2)
    new = torch.tensor(distort["points"], dtype=torch.float64)
    new = new + 1e-9 * old  # two points in one place have no spline
    centres = pixel_centres((warp.canvas, warp.canvas)) * (warp.canvas / warp.frame)
    grid = (spline_matrix(new, centres) @ old).float().view(1, warp.canvas, warp.canvas, 2)
    outside = warp.outside(images.device)
    return sample(images, grid.expand(len(images), -1, -1, -1), background=outside)
