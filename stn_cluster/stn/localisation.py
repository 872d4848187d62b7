"""Localisation nets: an image -> features, from which the transformer regresses theta.

The two of the paper's MNIST experiments (section 4.1 and its appendix). Any module that maps
(N, C, H, W) to (N, F) can stand in their place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cluster.stn.convolution import Conv2d, ConvPool2d
from stn_cluster.stn.grids import Size
from stn_cluster.stn.modes import evaluating
from stn_cluster.stn.precision import Precision


class LinearLocalisation(nn.Sequential):
    """ST-FCN's: three fully connected layers of 32 units. Fits any input."""

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
    """ST-CNN's: on the input downsampled by 2, conv 5x5 x 20, max-pool 2, conv 5x5 x 20, 20 units.

    Raises:
        ValueError: the input is smaller than 28 pixels one way: the second convolution won't fit.
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
    """F of a net that maps (N, channels, *size) to (N, F), found by running it once.

    Raises:
        ValueError: it gives another shape.
    """
    like = next(net.parameters(), torch.empty(0))  # the net's type and device
    with torch.no_grad(), evaluating(net):
        features: Tensor = net(
            torch.zeros(1, channels, *size, dtype=like.dtype, device=like.device)
        )
    if features.ndim != 2:
        raise ValueError(
            f"a localisation net gives features (N, F); this one gives {tuple(features.shape)}"
        )
    return features.shape[1]
