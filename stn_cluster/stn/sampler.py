"""The sampler: V_i = sum_n sum_m U_nm k(x_i - m) k(y_i - n), for any kernel k (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.stn.grids import is_low_precision

Padding = Literal["zeros", "border", "reflection"]
PADDINGS: tuple[Padding, ...] = ("zeros", "border", "reflection")


@dataclass(frozen=True)
class Kernel:
    """A separable sampling kernel.

    Args:
        name: for error messages.
        weight: k(d), elementwise, of the signed distance in pixels d = x - m, any shape;
            differentiable almost everywhere.
        radius: whole pixels; only taps with -radius <= d < radius are read.
        native: mode of F.grid_sample that computes the same, if there is one.
    """

    name: str
    weight: Callable[[Tensor], Tensor]
    radius: int
    native: Literal["bilinear", "bicubic"] | None = None


def _nearest(d: Tensor) -> Tensor:
    return ((d >= -0.5) & (d < 0.5)).to(d.dtype)  # delta(floor(x + 0.5) - m), equation 4


def _bilinear(d: Tensor) -> Tensor:
    return (1 - d.abs()).clamp(min=0)  # equation 5


def _bicubic(d: Tensor, a: float = -0.75) -> Tensor:
    """Keys' cubic convolution; PyTorch and OpenCV use a = -0.75."""
    r = d.abs()
    near = ((a + 2) * r - (a + 3)) * r * r + 1
    far = ((a * r - 5 * a) * r + 8 * a) * r - 4 * a
    return torch.where(r <= 1, near, torch.where(r < 2, far, torch.zeros_like(r)))


NEAREST = Kernel("nearest", _nearest, radius=1)
BILINEAR = Kernel("bilinear", _bilinear, radius=1, native="bilinear")
BICUBIC = Kernel("bicubic", _bicubic, radius=2, native="bicubic")


def sample(
    images: Tensor, grid: Tensor, kernel: Kernel = BILINEAR, padding: Padding = "zeros"
) -> Tensor:
    """Reads images at the grid's points.

    Args:
        images: (N, C, H, W), floating point.
        grid: (N, H', W', 2) of (x, y), -1 and 1 at the image's outer edges.
        kernel: weighs the pixels around a point.
        padding: values outside the image: zeros, the border pixel, or the mirrored image.

    Returns:
        (N, C, H', W') of the images' dtype, computed in single precision at least; differentiable
        in images and grid (nearest: in images only).

    Raises:
        ValueError: shapes do not match, or the padding is unknown.
    """
    shaped = images.ndim == grid.ndim == 4 and grid.shape[-1] == 2
    if not shaped or grid.shape[0] != images.shape[0]:  # not `len`, which torch.export fixes
        raise ValueError(
            "sample takes images (N, C, H, W) and a grid (N, H', W', 2), "
            f"not {tuple(images.shape)} and {tuple(grid.shape)}"
        )
    if padding not in PADDINGS:
        raise ValueError(f"padding {padding!r}: allowed are {', '.join(PADDINGS)}")
    if images.dtype != grid.dtype or is_low_precision(grid):
        precision = torch.promote_types(images.dtype, grid.dtype)
        precision = torch.promote_types(precision, torch.float32)
        return sample(images.to(precision), grid.to(precision), kernel, padding).to(images.dtype)
    if kernel.native is not None:
        return F.grid_sample(
            images, grid, mode=kernel.native, padding_mode=padding, align_corners=False
        )
    return sample_by_taps(images, grid, kernel, padding)


def sample_by_taps(images: Tensor, grid: Tensor, kernel: Kernel, padding: Padding) -> Tensor:
    """Evaluates the formula for any kernel, with (2 radius)^2 reads per point. See `sample`."""
    n, channels, height, width = images.shape
    taps_x, weights_x, inside_x = _taps(grid[..., 0], width, kernel, padding)
    taps_y, weights_y, inside_y = _taps(grid[..., 1], height, kernel, padding)
    weights_x, weights_y = weights_x * inside_x, weights_y * inside_y

    flat = images.reshape(n, channels, height * width)
    points = grid.shape[1] * grid.shape[2]
    output = images.new_zeros(n, channels, points)
    for ty, wy in zip(taps_y.unbind(-1), weights_y.unbind(-1), strict=True):
        for tx, wx in zip(taps_x.unbind(-1), weights_x.unbind(-1), strict=True):
            index = (ty * width + tx).view(n, 1, points).expand(-1, channels, -1)
            output = output + flat.gather(2, index) * (wy * wx).view(n, 1, points)
    return output.view(n, channels, *grid.shape[1:3])


def _taps(
    coordinate: Tensor, extent: int, kernel: Kernel, padding: Padding
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels that each point reads along one axis, their weights, and whether they count.

    All three are (N, H', W', 2 radius).
    """
    position = ((coordinate + 1) * extent - 1) / 2  # in pixels; pixel m has its centre at m
    # Farther outside than this, a point reads only padding, so the exact position is irrelevant.
    # Clamping also keeps the conversion to integers defined.
    reach = 2.0 * extent + kernel.radius if padding != "reflection" else 1e6
    position = position.clamp(-reach, reach)
    offsets = torch.arange(1 - kernel.radius, kernel.radius + 1, device=position.device)
    taps = position.detach().floor().long().unsqueeze(-1) + offsets
    weights = kernel.weight(position.unsqueeze(-1) - taps)
    inside = (taps >= 0) & (taps < extent)
    if padding == "reflection":  # mirrored at the outer edges: period 2 extent
        taps = taps.remainder(2 * extent)
        taps = torch.where(taps >= extent, 2 * extent - 1 - taps, taps)
    if padding != "zeros":
        inside = torch.ones_like(inside)
    return taps.clamp(0, extent - 1), weights, inside
