"""The networks' convolutions: alone, and with max-pool by 2 and ReLU in one layer."""

from __future__ import annotations

from torch import Tensor, nn

from stn_cluster.stn.conv_pool import conv_pool, convolved, plain_conv_pool
from stn_cluster.stn.grids import is_low_precision
from stn_cluster.stn.precision import Kernel, Precision, bf16_kernel
from stn_cluster.stn.tracing import traced

FEW_CHANNELS = 4  # with more channels, PyTorch's own convolution is faster


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` (stride 1, no padding) with a choice of precision.

    Args:
        in_channels: C.
        out_channels: number of filters.
        kernel_size: k, height and width of a filter.
        precision: precision of the products; parameters, input and output are always float32.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.precision: Precision = precision

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H - k + 1, W - k + 1)."""
        if (kernel := self._kernel(images)) is None:
            return super().forward(images)
        assert self.bias is not None
        scores = convolved(images, self.weight, kernel).to(images.dtype)
        return scores + self.bias.view(-1, 1, 1)

    def _kernel(self, images: Tensor) -> Kernel | None:
        return bf16_kernel(images.device.type) if self.precision == "bf16" else None


class ConvPool2d(Conv2d):
    """`Conv2d`, `nn.MaxPool2d(2)` and `nn.ReLU`.

    Parameters and result are the same as of these three modules in sequence, on any device.

    Args:
        in_channels: C.
        out_channels: number of filters.
        kernel_size: k, height and width of a filter.
        ceil_mode: whether pooling rounds an odd height or width up (else down, PyTorch's default).
        precision: see `Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        ceil_mode: bool = False,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, precision)
        self.ceil_mode = ceil_mode

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, (H - k + 1) / 2, (W - k + 1) / 2), sizes rounded."""
        kernel = self._kernel(images)
        assert self.bias is not None
        computed = plain_conv_pool if self._is_plain(images) else conv_pool
        return computed(images, self.weight, self.bias, self.ceil_mode, kernel)

    def _is_plain(self, images: Tensor) -> bool:
        """Whether PyTorch's own layers are as fast, or have to be used."""
        few = images.device.type == "cpu" and self.in_channels <= FEW_CHANNELS
        if not few or traced() or is_low_precision(self.weight):
            return True
        return min(images.shape[2:]) <= self.kernel_size[0] or len(images) == 0
