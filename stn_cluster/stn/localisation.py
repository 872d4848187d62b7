"""Localisation nets: an image -> features, from which the transformer regresses theta.

These are the two of the paper's MNIST experiments (section 4.1 and its appendix). Any module that
maps (N, C, H, W) to (N, F) can replace them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cluster.stn.convolution import Conv2d, ConvPool2d
from stn_cluster.stn.grids import Size
from stn_cluster.stn.modes import evaluating
from stn_cluster.stn.precision import Precision


class LinearLocalisation(nn.Sequential):
    """Localisation net of ST-FCN: three fully connected layers of 32 units, for any input size."""

    def __init__(self, channels: int, size: Size, units: int = 32) -> None:
        height, width = size
        super().__init__(
            nn.Flatten(),
            nn.Linear(channels * height * width, units),
            nn.ReLU(),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Linear(units, units),
            nn.ReLU(),
        )


class ConvLocalisation(nn.Sequential):
    """Localisation net of ST-CNN: downsampling by 2, 20 filters of 5x5, max-pool 2, 20 filters of
    5x5, 20 units.

    Raises:
        ValueError: height or width is below 28 pixels: the second convolution does not fit.
    """

    SMALLEST = 28  # 28 -> 14 -> 10 -> 5 -> 1

    def __init__(
        self,
        channels: int,
        size: Size,
        filters: int = 20,
        units: int = 20,
        precision: Precision = "float32",
    ) -> None:
        if min(size) < self.SMALLEST:
            raise ValueError(
                f"ConvLocalisation takes inputs from {self.SMALLEST}x{self.SMALLEST} pixels, "
                f"not {size[0]}x{size[1]}: give the transformer a smaller net of your own"
            )
        height, width = ((edge // 2 - 4) // 2 - 4 for edge in size)
        super().__init__(
            nn.AvgPool2d(2),
            ConvPool2d(channels, filters, 5, precision=precision),
            Conv2d(filters, filters, 5, precision),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(filters * height * width, units),
            nn.ReLU(),
        )


def count_features(net: nn.Module, channels: int, size: Size) -> int:
    """Number of features F of a net that maps (N, channels, *size) to (N, F), by running it once.

    Raises:
        ValueError: the output has another shape.
    """
    like = next(net.parameters(), torch.empty(0))  # the net's type and device
    with torch.no_grad(), evaluating(net):
        features: Tensor = net(
            torch.zeros(1, channels, *size, dtype=like.dtype, device=like.device)
        )
    if features.ndim != 2:
        raise ValueError(
            f"a localisation net returns features (N, F); this one returns {tuple(features.shape)}"
        )
    return features.shape[1]
