"""How far a transformer is from undoing a distortion whose parameters are known.

A(x) maps points of a transformer's output to the undistorted image x: through the predicted grid,
then through the distortion. A transformer that undoes the distortion reads from the distorted image
what it reads from the undistorted one, so that M = A(clean)^-1 A(distorted) is the identity. What
is left to undo is the similarity that fits M best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.data.distortions import Distortion
from stn_cluster.data.source_points import source_points
from stn_cluster.data.stream import isolated_distortion, user_state
from stn_cluster.stn.grids import homogeneous, pixel_centres

POINTS = 16  # points of the output each way
SIMILARITIES = ("R", "RTS")  # distortions that have an angle, a scale and a shift


class PoseErrors(NamedTuple):
    """What is left to undo of each image: (N,) float64 each, 0 or more."""

    degrees: Tensor
    log2_scale: Tensor
    shift_px: Tensor  # from where the image's centre should be to where it is, on the canvas
    # Mean over the points of the squared distance from where each should be; at most the diagonal
    # of the square of points: P maps some to nearly infinity, which would be all of the mean.
    squared_px: Tensor

    def of(self, images: Tensor) -> PoseErrors:
        """Those of some images, by their numbers."""
        return PoseErrors(*(values[images] for values in self))


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Means over images; None where there is none."""

    degrees: float | None = None
    log2_scale: float | None = None
    shift_px: float | None = None
    residual_px: float | None = None  # root mean square over images and points

    def columns(self, prefix: str) -> dict[str, float | None]:
        """By the name of the stored column: 'pose_degrees' for the prefix 'pose'."""
        return {f"{prefix}_{name}": value for name, value in asdict(self).items()}


class PoseTest:
    """Compares predicted grids with the distortion of a test set.

    Args:
        distorted: the distorted test images of a cell.
        clean: the same images undistorted (`clean_set`), on the same canvas.
    """

    def __init__(self, distorted: DistortedImages, clean: DistortedImages) -> None:
        self._distorted = _Read.of(distorted)
        self._clean = _Read.of(clean)
        self.canvas = distorted.cell.canvas
        self.has_similarity = distorted.cell.distortion_name in SIMILARITIES

    def errors(
        self, first: int, read: Tensor, clean_read: Tensor, size: Sequence[int]
    ) -> PoseErrors | None:
        """What is left of images `first` to `first` + N - 1.

        Args:
            first: number of the first image.
            read: (N, K, 2), where the transformer's output reads the distorted image: the predicted
                grid `at_points`.
            clean_read: (N, K, 2), where it reads the undistorted one.
            size: height and width of the output.

        Returns:
            None for a plug-in's distortion without a `grid`.
        """
        distorted = self._distorted.at(first, read)
        clean = self._clean.at(first, clean_read)
        if distorted is None or clean is None:
            return None
        return pose_errors(distorted, clean, output_points(size, read.device) * (self.canvas / 2))

    def identity_errors(self, first: int, count: int) -> PoseErrors | None:
        """What is left of `count` images without any transformer."""
        size = self.canvas, self.canvas
        still = output_points(size, torch.device("cpu")).expand(count, -1, -1)
        return self.errors(first, still, still, size)

    def mean(self, errors: Sequence[PoseErrors | None]) -> Pose:
        """The means over batches of errors."""
        return mean_pose(errors, self.has_similarity)


@dataclass(frozen=True)
class _Read:
    """Reads of undistorted images through a distortion."""

    images: DistortedImages
    distortion: Distortion
    parameters: Tensor  # (M, P), on the CPU

    @classmethod
    def of(cls, images: DistortedImages) -> _Read:
        return cls(images, images.distortion(), images.parameters())

    def at(self, first: int, points: Tensor) -> Tensor | None:
        """A at points of the canvas, (N, K, 2)."""
        cell = self.images.cell
        drawn = self.parameters[first : first + len(points)].to(points.device)
        with isolated_distortion(cell, user_state(cell, points.device, "pose", first)):
            return source_points(self.distortion, drawn, points)


@torch.no_grad()
def pose_errors(distorted: Tensor, clean: Tensor, points: Tensor) -> PoseErrors:
    """What is left to undo.

    Of A(clean), which need not have an inverse beyond the points, the affine part is inverted: it
    is all of it for the identity and for affine transformers. M is the identity just where both
    read the same.

    Args:
        distorted, clean: (N, K, 2) float64, A at the same points of the output.
        points: (K, 2) float64, these points in px from the output's centre.

    Returns:
        Not a number for an image of which all is read from one line.
    """
    affine = torch.linalg.pinv(homogeneous(points)) @ clean  # (N, 3, 2): least squares, by columns
    inverse, info = torch.linalg.inv_ex(affine[:, :2])
    inverse = torch.where(info[:, None, None] == 0, inverse, torch.nan)
    shift = affine[:, 2:]
    mapped = (distorted - shift) @ inverse
    wanted = (clean - shift) @ inverse  # the points themselves if A(clean) is affine

    source, target = torch.view_as_complex(points), torch.view_as_complex(mapped.contiguous())
    centred = source - source.mean()
    # A complex factor turns and scales.
    factor = (centred.conj() * target).sum(1) / centred.abs().square().sum()
    offset = target.mean(1) - factor * source.mean()
    x, y = (mapped - wanted).unbind(2)
    farthest = 8 * points.abs().max() ** 2  # of the square that the points fill, the diagonal
    return PoseErrors(
        degrees=torch.rad2deg(factor.angle()).abs(),
        log2_scale=factor.abs().log2().abs(),
        shift_px=(offset / factor).abs(),  # M maps -offset / factor to the centre
        squared_px=(x * x + y * y).clamp(max=farthest).mean(1),
    )


def mean_pose(errors: Sequence[PoseErrors | None], has_similarity: bool) -> Pose:
    """Means of absolute values; the root mean square of the residual.

    Args:
        errors: of one batch after another.
        has_similarity: whether there is an angle, a scale and a shift to undo.

    Returns:
        None for a mean that is not finite, and for all of them where there are no errors.
    """
    batches = [batch for batch in errors if batch is not None]
    if not batches or len(batches) < len(errors):
        return Pose()
    degrees, log2_scale, shift_px, squared = (
        float(torch.cat(parts).mean()) for parts in zip(*batches, strict=True)
    )
    pose = Pose(residual_px=_finite(squared**0.5))
    if not has_similarity:
        return pose
    return Pose(
        degrees=_finite(degrees),
        log2_scale=_finite(log2_scale),
        shift_px=_finite(shift_px),
        residual_px=pose.residual_px,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def at_points(grid: Tensor) -> Tensor:
    """A grid (N, H, W, 2) at the `output_points`, (N, K, 2)."""
    return grid.flatten(1, 2)[:, _places(grid.shape[1:3]).to(grid.device)]


def output_points(size: Sequence[int], device: torch.device) -> Tensor:
    """(K, 2) float64: at most 16 pixels' centres each way, over the whole output of -1 to 1."""
    return pixel_centres((size[0], size[1]))[_places(size)].to(device)


def _places(size: Sequence[int]) -> Tensor:
    """Numbers of these pixels, row by row: there the predicted grid is known exactly."""
    rows, columns = (
        torch.linspace(0, edge - 1, min(POINTS, edge), dtype=torch.float64).round().long()
        for edge in size
    )
    return (rows[:, None] * size[1] + columns).flatten()
