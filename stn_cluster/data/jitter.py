"""A mild elastic jitter of training images, within the one reading that distorts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stn_cluster.data.datasets import FRAME
from stn_cluster.data.distortions import GridDistortion, Parameters, Spline
from stn_cluster.stn.sampler import sample


@dataclass(frozen=True)
class ElasticJitter:
    """A distortion whose image is bent by a thin plate spline (after Simard et al. 2003).

    The spline takes each output point to another one, and the distortion takes that to where the
    image is read: one bilinear reading, so nothing is blurred twice. Between the centres of output
    pixels, the distortion's grid is interpolated; beyond the outermost, it is theirs.

    Parameters: the distortion's, then where each of the spline's points is read (px).
    """

    distortion: GridDistortion
    spline: Spline  # on the same canvas

    @property
    def canvas(self) -> int:
        """Pixels, height and width of a distorted image."""
        return self.distortion.canvas

    def draw(self, rng: np.random.Generator, n: int) -> Parameters:
        """(n, P), the distortion's parameters first."""
        return np.hstack([self.distortion.draw(rng, n), self.spline.draw(rng, n)])

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """(N, 1, 28, 28) and (N, P) -> (N, 1, canvas, canvas)."""
        return sample(images, self.grid(parameters))

    def grid(self, parameters: Tensor) -> Tensor:
        """(N, P) -> (N, canvas, canvas, 2)."""
        own = 2 * self.spline.points**2
        base = self.distortion.grid(parameters[:, :-own])
        points = self.spline.grid(parameters[:, -own:]) * (FRAME / self.canvas)  # the canvas is +-1
        return sample(base.permute(0, 3, 1, 2), points, padding="border").permute(0, 2, 3, 1)
