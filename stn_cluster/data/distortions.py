"""The four distortions R, RTS, P and E (section 4.1 of the paper), batched, on any device.

Each has pure functions: `draw` draws parameters in pixels, degrees and factors on the CPU, `scaled`
makes drawn ones stronger or weaker, and `apply` distorts images with given parameters, reading them
at the positions that `grid` computes.
Positions outside the image are background. Amounts in pixels are those of a frame of 28 pixels; on
others they are scaled with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stn_cluster.dataset_info import FRAME
from stn_cluster.stn.grids import (
    ThinPlateSplineGrid,
    affine_basis,
    homogeneous,
    homography,
    pixel_centres,
)
from stn_cluster.stn.sampler import outside, sample

Parameters = NDArray[np.float32]


@runtime_checkable
class Distortion(Protocol):
    """A family of random warps of images onto a canvas."""

    @property
    def canvas(self) -> int:
        """Pixels, height and width of a distorted image."""

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """Draws the parameters of n warps, (n, P), from a generator used for nothing else."""

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """(N, C, frame, frame) in 0 to 1 and (N, P) -> (N, C, canvas, canvas) in 0 to 1."""


@runtime_checkable
class GridDistortion(Distortion, Protocol):
    """Distortion that reads each output pixel at one position, so that it can be combined with
    another one (`jitter.py`)."""

    def grid(self, parameters: Tensor) -> Tensor:
        """(N, P) -> (N, canvas, canvas, 2): source position of each output pixel, in units in which
        the frame is -1 to 1."""


@runtime_checkable
class ScalableDistortion(Distortion, Protocol):
    """Distortion of which one can say how it gets worse: a severity other than 1 needs that."""

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """(N, P) -> (N, P): the same warps, `severity` (0 or more) times as strong; 0 is none."""


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Implements `apply` for a distortion that has a `grid`."""

    canvas: int  # pixels, height and width of a distorted image
    frame: int = FRAME  # pixels, height and width of an undistorted image
    background: tuple[float, ...] = ()  # 0 to 1, one number for each channel; empty: 0

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """See `Distortion`; the interpolation is bilinear."""
        return sample(images, self.grid(parameters), background=self.outside(images.device))

    def outside(self, device: torch.device) -> Tensor | None:
        """The background as `sample` takes it."""
        return _outside(self.background, device)

    def grid(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Similarity(Warp):
    """Rotation, scale and shift about the canvas's centre. Parameters: degrees, factor, x, y (px).

    The scaled frame stays within the canvas if it fits; the shift is uniform over the remaining
    space.
    """

    degrees: float  # the angle is uniform from -degrees to degrees
    scale: tuple[float, float]  # the factor is uniform in this range
    shift: bool  # whether the location is random (else the centre)
    rotated: bool = True  # whether the rotated frame stays within the canvas (else the unrotated)

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, 4): angle in degrees (positive turns clockwise as seen), scale, shift x, shift y."""
        angle = rng.uniform(-self.degrees, self.degrees, n)
        scale = rng.uniform(*self.scale, n)
        place = rng.uniform(-1, 1, (n, 2)) * self.shift
        half = self.frame / 2 * scale
        if self.rotated:
            radians = np.deg2rad(angle)
            half = half * (np.abs(np.cos(radians)) + np.abs(np.sin(radians)))
        room = np.maximum(self.canvas / 2 - half, 0)
        return np.column_stack([angle, scale, place * room[:, None]]).astype(np.float32)

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """Multiplies angle, ln of scale, and shift."""
        angle, scale, *shift = parameters.T.astype(np.float64)
        columns = [angle * severity, scale**severity, *(x * severity for x in shift)]
        return np.column_stack(columns).astype(np.float32)

    def grid(self, parameters: Tensor) -> Tensor:
        """Reads each output pixel p (px from the centre) at R(-angle) (p - shift) / scale."""
        angle, scale, x, y = parameters.unbind(1)
        cos = torch.cos(torch.deg2rad(angle)) / scale
        sin = torch.sin(torch.deg2rad(angle)) / scale
        stretch = self.canvas / self.frame  # converts the canvas's units of length to the frame's
        to_frame = 2 / self.frame
        to_x = cos * stretch, sin * stretch, -(cos * x + sin * y) * to_frame
        to_y = -sin * stretch, cos * stretch, (sin * x - cos * y) * to_frame
        grid = torch.stack([*to_x, *to_y], dim=1) @ _canvas_basis(self.canvas, parameters.device)
        return grid.view(-1, self.canvas, self.canvas, 2)


@dataclass(frozen=True, kw_only=True)
class CornerShift(Warp):
    """A homography: the frame is scaled about its centre, then each corner is moved.

    Parameters: the scale, then the moves of the corners (x, y; px), clockwise from top left.
    """

    diagonal: bool  # each corner moves along its own diagonal; else independently in x and y
    enlarged: bool  # the image fills the canvas; else its frame is at the centre
    scale: tuple[float, float] = (0.75, 1.0)
    sigma: float = 5.0  # px of a frame of 28

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, 9): the scale, uniform, and four moves."""
        scale = rng.uniform(*self.scale, (n, 1))
        sigma = self.sigma * (self.frame / FRAME)
        if self.diagonal:
            amount = rng.normal(0, sigma, (n, 4, 1))
            moves = amount * np.array(_CORNERS) / np.sqrt(2)
        else:
            moves = rng.normal(0, sigma, (n, 4, 2))
        return np.hstack([scale, moves.reshape(n, 8)]).astype(np.float32)

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """Multiplies ln of scale, and moves."""
        exact = parameters.astype(np.float64)
        return np.hstack([exact[:, :1] ** severity, exact[:, 1:] * severity]).astype(np.float32)

    def grid(self, parameters: Tensor) -> Tensor:
        """Reads the output through the inverse of the homography that moves the corners."""
        # The division costs digits, which pixels of a larger frame need. On the paper's frame, what
        # it comes to in single precision is on record.
        exact = parameters if self.frame == FRAME else parameters.double()
        basis = _canvas_basis(self.canvas, parameters.device, exact.dtype)
        grid = homography(self.matrix(exact).flatten(1), basis).to(parameters.dtype)
        return grid.view(-1, self.canvas, self.canvas, 2)

    def matrix(self, parameters: Tensor) -> Tensor:
        """(N, 9) -> (N, 3, 3): maps the canvas, -1 to 1, to the frame, -1 to 1."""
        half = (self.canvas if self.enlarged else self.frame) / 2
        corners = _constant(_CORNERS, parameters.device)
        moved = parameters[:, :1, None] * half * corners + parameters[:, 1:].view(-1, 4, 2)
        return square_from_quad(moved / (self.canvas / 2))


@dataclass(frozen=True, kw_only=True)
class Spline(Warp):
    """A thin plate spline: 4x4 control points, a regular grid, each moved.

    Parameters: the move of each control point's source position in px (x, y), row by row.
    """

    sigma: float = 1.5  # px of a frame of 28
    points: int = 4
    on_frame: bool = True  # inside a larger canvas, the control points stay on the frame
    _grids: dict[torch.device, ThinPlateSplineGrid] = field(
        default_factory=dict, compare=False, repr=False
    )

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, 32)."""
        sigma = self.sigma * (self.frame / FRAME)
        return rng.normal(0, sigma, (n, 2 * self.points**2)).astype(np.float32)

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """Multiplies the moves."""
        return (parameters.astype(np.float64) * severity).astype(np.float32)

    def grid(self, parameters: Tensor) -> Tensor:
        """Reads each output pixel at the position to which the spline maps it."""
        device = parameters.device
        if device not in self._grids:
            size, control = (self.canvas, self.canvas), (self.points, self.points)
            span = self.frame / self.canvas if self.on_frame else 1.0
            self._grids[device] = ThinPlateSplineGrid(size, control, span).to(device)
        spline = self._grids[device]
        to_canvas = 2 / self.canvas
        grid: Tensor = spline(spline.identity + parameters * to_canvas)
        return grid * (self.canvas / self.frame)


@dataclass(frozen=True, kw_only=True)
class Undistorted(Warp):
    """No distortion: the image in the middle of the canvas. No parameters."""

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, 0)."""
        del rng
        return np.empty((n, 0), np.float32)

    def scaled(self, parameters: Parameters, severity: float) -> Parameters:
        """There is nothing to multiply."""
        del severity
        return parameters

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """See `Distortion`; the pixels stay what they are, unless half of one is to be moved by."""
        margin, half = divmod(self.canvas - self.frame, 2)
        if half:
            return super().apply(images, parameters)
        if margin <= 0 or (outside := self.outside(images.device)) is None:
            return F.pad(images, (margin,) * 4)
        framed = outside.expand(len(images), -1, self.canvas, self.canvas).clone()
        inside = slice(margin, margin + self.frame)
        framed[..., inside, inside] = images
        return framed

    def grid(self, parameters: Tensor) -> Tensor:
        """Reads each output pixel where it is."""
        points = pixel_centres((self.canvas, self.canvas), torch.float32) * (
            self.canvas / self.frame
        )
        grid = points.to(parameters.device).view(1, self.canvas, self.canvas, 2)
        return grid.expand(len(parameters), -1, -1, -1)


def clean(variant: str, canvas: int, **images: Any) -> Distortion:
    """clean: no distortion at all."""
    del variant
    return Undistorted(canvas=canvas, **images)


def rotation(variant: str, canvas: int, **images: Any) -> Distortion:
    """R: rotated by an angle uniform in +-90 degrees."""
    del variant
    return Similarity(canvas=canvas, degrees=90, scale=(1, 1), shift=False, **images)


def rotation_translation_scale(variant: str, canvas: int, **images: Any) -> Distortion:
    """RTS: rotated by +-45 degrees, scaled by 0.7 to 1.2, placed at random on a canvas of 1.5
    frames.

    The variant determines which frame stays within the canvas: `plain` the rotated one, `frame` the
    unrotated one, so that corners may leave the canvas after the rotation.
    """
    rotated = variant != "frame"
    return Similarity(
        canvas=canvas, degrees=45, scale=(0.7, 1.2), shift=True, rotated=rotated, **images
    )


def projective(variant: str, canvas: int, **images: Any) -> Distortion:
    """P: scaled by 0.75 to 1, then each corner is moved by N(0, 5 px), as the variant defines."""
    diagonal, enlarged = variant.startswith("diagonal"), variant.endswith("enlarged")
    return CornerShift(canvas=canvas, diagonal=diagonal, enlarged=enlarged, **images)


def elastic(variant: str, canvas: int, **images: Any) -> Distortion:
    """E: a thin plate spline with 16 control points, each moved by N(0, 1.5 px)."""
    del variant
    return Spline(canvas=canvas, **images)


Rows = tuple[tuple[float, ...], ...]
_CORNERS: Rows = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))  # clockwise from top left
_SQUARE_FROM_UNIT: Rows = ((2.0, 0.0, -1.0), (0.0, 2.0, -1.0), (0.0, 0.0, 1.0))


def square_from_quad(corners: Tensor) -> Tensor:
    """Homographies that map a quadrilateral's corners to those of the square [-1, 1]^2.

    Args:
        corners: (N, 4, 2), clockwise from top left.

    Returns:
        (N, 3, 3), scaled so that points seen from the front have a positive denominator. Computed
        in closed form (Heckbert 1989, section 2.2.3) in float64, then cast back.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (c.unbind(1) for c in corners.double().unbind(1))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    area = _away_from_zero(dx1 * dy2 - dx2 * dy1)
    g = (sum_x * dy2 - dx2 * sum_y) / area
    h = (dx1 * sum_y - sum_x * dy1) / area
    one = torch.ones_like(g)
    rows = (
        (x1 - x0 + g * x1, x3 - x0 + h * x3, x0),
        (y1 - y0 + g * y1, y3 - y0 + h * y3, y0),
        (g, h, one),
    )
    quad_from_unit = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    square_from_unit = _constant(_SQUARE_FROM_UNIT, corners.device).double()
    return (square_from_unit @ _inverse(quad_from_unit)).to(corners.dtype)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverses of (N, 3, 3): adjugate over determinant; finite even for a singular matrix."""
    a, b, c = matrix.unbind(1)
    adjugate = torch.stack([b.cross(c, 1), c.cross(a, 1), a.cross(b, 1)], dim=2)
    determinant = (a * b.cross(c, 1)).sum(1)
    return adjugate / _away_from_zero(determinant)[:, None, None]


def _away_from_zero(value: Tensor, least: float = 1e-9) -> Tensor:
    return torch.where(value.abs() < least, torch.full_like(value, least), value)


@lru_cache(maxsize=16)
def _constant(rows: Rows, device: torch.device) -> Tensor:
    """Tensor of constants, cached on the device, so that a step copies nothing from the host."""
    return torch.tensor(rows, device=device)


@lru_cache(maxsize=16)
def _outside(background: tuple[float, ...], device: torch.device) -> Tensor | None:
    return outside(background, device)


@lru_cache(maxsize=16)
def _canvas_basis(canvas: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    points = homogeneous(pixel_centres((canvas, canvas)))
    return affine_basis(points).to(device, dtype)
