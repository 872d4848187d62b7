"""A convolution as one matrix product over patches: quick where the input has few channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchConv2d(nn.Conv2d):
    """`nn.Conv2d` with stride 1 and no padding; the same parameters and the same result.

    On a CPU, PyTorch's convolution of a 1-channel image spends most of a training step on the
    gradient of its input, which every spatial transformer network needs. There, the patches are
    laid out once and everything is a matrix product; elsewhere PyTorch's own kernel runs.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H - k + 1, W - k + 1), channels last in memory."""
        if images.device.type != "cpu" or self.in_channels > 4:
            return super().forward(images)
        assert self.bias is not None
        kernel = self.kernel_size[0]
        patches = images.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (N, C, H', W', k, k)
        n, _, height, width = patches.shape[:4]
        weight = self.weight.flatten(1)
        columns = patches.permute(0, 2, 3, 1, 4, 5).reshape(n * height * width, weight.shape[1])
        output = torch.addmm(self.bias, columns, weight.T)
        return output.view(n, height, width, self.out_channels).permute(0, 3, 1, 2)
