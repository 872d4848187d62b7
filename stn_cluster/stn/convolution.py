"""Convolution, max-pool by 2 and ReLU in one layer; on a CPU, all of it as matrix products.

PyTorch's convolution of a 1-channel image spends most of a training step on the gradient of its
input, which every spatial transformer network needs. Here the image is cut, once, into bands as
wide as what two neighbouring outputs see (k + 1 pixels, 2 apart). In a band, the k rows that an
output row sees are k (k + 1) C numbers in a row: the patches of a row of outputs are a strided view
of the bands, never copied, and a matrix product away from the outputs. Its transpose adds up the
bands' gradient in place. A pooling window is two outputs of a band in two rows, and whether the
first of a pair wins is all that the backward pass has to know.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FEW_CHANNELS = 4  # with more, PyTorch's own convolution is quicker


class ConvPool2d(nn.Conv2d):
    """`nn.Conv2d` (stride 1, no padding), `nn.MaxPool2d(2)` and `nn.ReLU`.

    The same parameters and the same result as the three in a row, on any device.

    Args:
        in_channels: C.
        out_channels: the filters.
        kernel_size: k, height and width.
        ceil_mode: an odd edge is pooled up, or (as is PyTorch's default) down.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, ceil_mode: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.ceil_mode = ceil_mode

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, (H - k + 1) / 2, (W - k + 1) / 2), rounded."""
        fits = min(images.shape[2:]) > self.kernel_size[0] and len(images) > 0
        if images.device.type != "cpu" or self.in_channels > FEW_CHANNELS or not fits:
            return F.relu(F.max_pool2d(super().forward(images), 2, ceil_mode=self.ceil_mode))
        pooled: Tensor = _ConvPool.apply(images, self.weight, self.bias, self.ceil_mode)
        return pooled


class _ConvPool(torch.autograd.Function):
    """Shapes below: image N, band b, channel C, filter K, kernel k; r and b count pooled pixels."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, ceil_mode: bool) -> Tensor:
        kernel = weight.shape[2]
        height, width = (edge - kernel + 1 for edge in images.shape[2:])  # before pooling
        rows, bands = ((edge + ceil_mode) // 2 for edge in (height, width))
        patches = _patches(_bands(images, kernel, rows, bands), kernel)
        matrix = _matrix(weight)
        scores = torch.bmm(patches, matrix.expand(2 * rows, -1, -1))
        scores = scores.view(rows, 2, bands, len(images), 2, len(weight))
        if height < 2 * rows:  # what is beyond the edge never wins
            scores[-1, 1] = -torch.inf
        if width < 2 * bands:
            scores[:, :, -1, :, 1] = -torch.inf
        a, b, c, d = (scores[:, y, :, :, x] for y in (0, 1) for x in (0, 1))  # (r, b, N, K)
        top, bottom = torch.maximum(a, b), torch.maximum(c, d)
        best = torch.maximum(top, bottom)
        pooled = images.new_empty(len(images), rows, bands, len(weight))
        # The largest score plus the bias is the largest sum of both.
        torch.clamp(best.add_(bias), min=0, out=pooled.permute(1, 2, 0, 3))
        if any(ctx.needs_input_grad):  # ties go to the first, as with PyTorch
            won = (a >= b, c >= d, top >= bottom)
            ctx.save_for_backward(patches, matrix, pooled, *won)
            ctx.shape, ctx.kernel = images.shape, kernel
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        patches, matrix, pooled, a_won, c_won, top_won = ctx.saved_tensors
        n, channels, height, width = ctx.shape
        _, rows, bands, filters = pooled.shape
        gradient = gradient.permute(0, 2, 3, 1) * (pooled > 0)  # (N, r, b, K)
        best = gradient.permute(1, 2, 0, 3)
        scores = gradient.new_empty(rows, 2, bands, n, 2, filters)
        a, b, c, d = (scores[:, y, :, :, x] for y in (0, 1) for x in (0, 1))
        top = best * top_won
        torch.mul(top, a_won, out=a)
        torch.sub(top, a, out=b)
        bottom = best - top
        torch.mul(bottom, c_won, out=c)
        torch.sub(bottom, c, out=d)
        scores = scores.view(2 * rows, bands * n, 2 * filters)

        for_matrix = torch.zeros_like(matrix)
        for patch, score in zip(patches, scores, strict=True):
            for_matrix.addmm_(patch.T, score)
        for_images = None
        if ctx.needs_input_grad[0]:
            high, wide = 2 * rows + ctx.kernel - 1, 2 * bands + ctx.kernel - 1
            for_bands = gradient.new_zeros(bands, n, high, ctx.kernel + 1, channels)
            for patch, score in zip(_patches(for_bands, ctx.kernel), scores, strict=True):
                patch.addmm_(score, matrix.T)
            for_images = gradient.new_zeros(n, high, wide, channels)
            for band, part in enumerate(for_bands):
                for_images[:, :, 2 * band : 2 * band + ctx.kernel + 1] += part
            for_images = _fitted(for_images.permute(0, 3, 1, 2), height, width)
        for_weight = _weight(for_matrix, ctx.kernel, channels)
        return for_images, for_weight, gradient.sum((0, 1, 2)), None


def _bands(images: Tensor, kernel: int, rows: int, bands: int) -> Tensor:
    """(N, C, H, W) -> (b, N, 2 r + k - 1, k + 1, C), with zeros beyond an odd edge."""
    images = _fitted(images, 2 * rows + kernel - 1, 2 * bands + kernel - 1)
    return images.unfold(3, kernel + 1, 2).permute(3, 0, 2, 4, 1).contiguous()


def _fitted(images: Tensor, height: int, width: int) -> Tensor:
    """Cut off, or continued with zeros, at the lower and the right edge."""
    if images.shape[2:] == (height, width):
        return images
    return F.pad(images, (0, width - images.shape[3], 0, height - images.shape[2]))


def _patches(bands: Tensor, kernel: int) -> Tensor:
    """A view of bands as (2 r, b N, k (k + 1) C); those of different rows overlap."""
    count, n, height, width, channels = bands.shape
    line = width * channels
    size = (height - kernel + 1, count * n, kernel * line)
    return bands.as_strided(size, (line, height * line, 1))


def _matrix(weight: Tensor) -> Tensor:
    """The filters as a (k (k + 1) C, 2 K) matrix: each in the band's two places."""
    filters, channels, kernel, _ = weight.shape
    matrix = weight.new_zeros(kernel, kernel + 1, channels, 2, filters)
    matrix[:, :-1, :, 0] = matrix[:, 1:, :, 1] = weight.permute(2, 3, 1, 0)
    return matrix.view(-1, 2 * filters)


def _weight(matrix: Tensor, kernel: int, channels: int) -> Tensor:
    """The transpose of `_matrix`: adds both places up."""
    places = matrix.view(kernel, kernel + 1, channels, 2, -1)
    return (places[:, :-1, :, 0] + places[:, 1:, :, 1]).permute(3, 2, 0, 1)
