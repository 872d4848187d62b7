"""A mild elastic jitter of training images, combined with their distortion in one resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stn_cluster.data.distortions import GridDistortion, Parameters, Spline
from stn_cluster.stn.sampler import sample


@dataclass(frozen=True)
class ElasticJitter:
    """A distortion followed by a warp with a thin plate spline (after Simard et al. 2003).

    The spline maps each output point to another one, and the distortion maps that to a position in
    the source image. The image is resampled only once, so it is not blurred twice. Between the
    centres of output pixels, the distortion's grid is interpolated; beyond the outermost centres,
    it is constant.

    Parameters: the distortion's, then the moves of the spline's points (px).
    """

    distortion: GridDistortion
    spline: Spline  # on the same canvas, of the same frame and background

    @property
    def canvas(self) -> int:
        """Pixels, height and width of a distorted image."""
        return self.distortion.canvas

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, P), the distortion's parameters first."""
        return np.hstack([self.distortion.draw(rng, n), self.spline.draw(rng, n)])

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """(N, C, frame, frame) and (N, P) -> (N, C, canvas, canvas)."""
        outside = self.spline.outside(images.device)
        return sample(images, self.grid(parameters), background=outside)

    def grid(self, parameters: Tensor) -> Tensor:
        """(N, P) -> (N, canvas, canvas, 2)."""
        own = 2 * self.spline.points**2
        base = self.distortion.grid(parameters[:, :-own])
        # In units in which the canvas is -1 to 1.
        points = self.spline.grid(parameters[:, -own:]) * (self.spline.frame / self.canvas)
        return sample(base.permute(0, 3, 1, 2), points, padding="border").permute(0, 2, 3, 1)
