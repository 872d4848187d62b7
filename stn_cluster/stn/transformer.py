"""The spatial transformer: localisation net, grid generator and sampler in one module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cluster.stn.grids import AffineGrid, GridGenerator, Size, is_low_precision
from stn_cluster.stn.localisation import ConvLocalisation, LinearLocalisation, count_features
from stn_cluster.stn.sampler import BILINEAR, Kernel, Padding, sample


class Transformed(NamedTuple):
    """Output of a transformer, with the theta and grid that produced it."""

    output: Tensor  # (N, C, H', W')
    theta: Tensor  # (N, P); it and the grid are float32 in a bfloat16 or float16 module
    grid: Tensor  # (N, H', W', 2)


class Jitter(NamedTuple):
    """Noise on theta in training, so that the classifier sees more than one pose of an image.

    Esteves et al. 2018 (Polar Transformer Networks, section 4.4) jitter their origin in this way.
    """

    amount: Tensor  # (), a multiple of the grid generator's `jitter`
    generator: torch.Generator  # on the parameters' device


class SpatialTransformer(nn.Module):
    """Warps its input by a transform that is predicted from the input (figure 2 of the paper).

    It starts as the identity: the last layer has zero weights and the identity's parameters as
    bias.

    Args:
        channels: C of the input, 1 or more.
        size: height and width of the input.
        output_size: height and width of the output; default: the input's.
        transform: makes the grid generator for an output size: a class in `grids`, for example.
        localisation: (N, C, H, W) -> (N, F), or "conv" or "linear" for the paper's nets; default:
            the convolutional one if the input is large enough for it.
        kernel: the sampling kernel.
        padding: values outside the input.

    Example:
        >>> SpatialTransformer(3, (32, 32))(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        size: Size,
        output_size: Size | None = None,
        *,
        transform: Callable[[Size], GridGenerator] = AffineGrid,
        localisation: nn.Module | Literal["conv", "linear"] | None = None,
        kernel: Kernel = BILINEAR,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.channels = channels
        self.size = size
        self.kernel = kernel
        self.padding: Padding = padding
        self.grid = transform(output_size or size)
        if localisation is None:
            localisation = "conv" if min(size) >= ConvLocalisation.SMALLEST else "linear"
        if localisation == "conv":
            localisation = ConvLocalisation(channels, size)
        elif localisation == "linear":
            localisation = LinearLocalisation(channels, size)
        elif not isinstance(localisation, nn.Module):
            raise ValueError(f"localisation {localisation!r}: a module, 'conv' or 'linear'")
        self.localisation = localisation
        features = count_features(localisation, channels, size)
        self.theta = nn.Linear(features, self.grid.n_parameters)
        nn.init.zeros_(self.theta.weight)
        self.theta.bias.data.copy_(self.grid.identity)
        self._jitter: Jitter | None = None

    def jitter_theta(self, jitter: Jitter) -> None:
        """Adds normal noise to theta in training mode from now on.

        Raises:
            ValueError: the grid generator registers no `jitter`.
        """
        if self.grid.jitter is None:
            raise ValueError(
                f"theta_jitter needs a scale: {type(self.grid).__name__} registers no `jitter`"
            )
        self._jitter = jitter

    @overload
    def forward(self, images: Tensor, details: Literal[False] = False) -> Tensor: ...
    @overload
    def forward(self, images: Tensor, details: Literal[True]) -> Transformed: ...
    def forward(self, images: Tensor, details: bool = False) -> Tensor | Transformed:
        """(N, C, H, W) -> (N, C, H', W'); with `details`, also theta and the grid.

        Raises:
            ValueError: the images do not have the size the module was made for.
        """
        if images.ndim != 4 or images.shape[1:] != (self.channels, *self.size):
            raise ValueError(
                f"this transformer takes images (N, {self.channels}, {self.size[0]}, "
                f"{self.size[1]}), not {tuple(images.shape)}"
            )
        features = self.localisation(images)
        # Full precision also under autocast and in a bfloat16 or float16 network, whose positions
        # would be wrong by half a pixel.
        with torch.autocast(images.device.type, enabled=False):
            theta = self._regressed(features)
            if self.training and self._jitter is not None:
                theta = theta + self._noise(theta)
            grid = self.grid(theta)
            output = sample(images.to(grid.dtype), grid, self.kernel, self.padding)
            output = output.to(self.theta.weight.dtype)
        return Transformed(output, theta, grid) if details else output

    def _regressed(self, features: Tensor) -> Tensor:
        """Theta (N, P) from features (N, F), in single precision at least."""
        weight, bias = self.theta.weight, self.theta.bias
        if is_low_precision(weight):
            return F.linear(features.float(), weight.float(), bias.float())
        theta: Tensor = self.theta(features.to(weight.dtype))
        return theta

    def _noise(self, theta: Tensor) -> Tensor:
        assert self._jitter is not None
        assert self.grid.jitter is not None
        noise = torch.empty_like(theta).normal_(generator=self._jitter.generator)
        return noise * (self.grid.jitter * self._jitter.amount)
