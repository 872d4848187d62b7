"""Convolution, max-pool by 2 and ReLU on a CPU, computed with matrix products.

PyTorch's convolution of a 1-channel image spends most of a training step on the gradient of its
input, which every spatial transformer network needs. Here the image is copied, once, into bands,
each as wide as the input of two neighbouring outputs (k + 1 pixels; bands start 2 pixels apart). In
a band, the k rows that an output row depends on are k (k + 1) C contiguous numbers. So the patches
of a row of outputs are a strided view of the bands, without a copy, and one matrix product computes
the outputs. Its transpose adds up the bands' gradient in place. A pooling window consists of two
outputs of a band in two rows; the backward pass only needs to know which of each pair was larger.

Outputs before pooling are four times as many as after it, more than a core's cache holds. So a few
rows at a time are multiplied and pooled, forward and backward, in memory that is reused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.stn.precision import Kernel, rounded

BLOCK_BYTES = 2**19  # size of the outputs computed at a time: half of a small L2 cache


def conv_pool(
    images: Tensor, weight: Tensor, bias: Tensor, ceil_mode: bool, kernel: Kernel | None = None
) -> Tensor:
    """Computes the ReLU of the max-pooled convolution of images on a CPU.

    Args:
        images: (N, C, H, W), at least one; H and W are larger than k.
        weight: (K, C, k, k).
        bias: (K,).
        ceil_mode: whether pooling rounds an odd height or width up (else down).
        kernel: multiplies numbers rounded to bfloat16; None: no rounding.

    Returns:
        (N, K, (H - k + 1) / 2, (W - k + 1) / 2), sizes rounded; in channels-last memory format.
    """
    if torch.is_autocast_enabled("cpu"):  # it sums in float32, as other layers' sums are
        with torch.autocast("cpu", enabled=False):
            images, weight, bias = (
                part if part.dtype == torch.float64 else part.float()
                for part in (images, weight, bias)
            )
            return conv_pool(images, weight, bias, ceil_mode, kernel)
    pooled: Tensor = _ConvPool.apply(images, weight, bias, ceil_mode, kernel)
    return pooled


def plain_conv_pool(
    images: Tensor, weight: Tensor, bias: Tensor, ceil_mode: bool, kernel: Kernel | None = None
) -> Tensor:
    """Computes `conv_pool`, but for rounding, with PyTorch's own operations, on any device."""
    if kernel is None:
        scores = F.max_pool2d(F.conv2d(images, weight, bias), 2, ceil_mode=ceil_mode)
        return F.relu(scores)
    scores = F.max_pool2d(convolved(images, weight, kernel), 2, ceil_mode=ceil_mode)
    return F.relu(scores.to(images.dtype) + bias.view(-1, 1, 1))


def convolved(images: Tensor, weight: Tensor, kernel: Kernel) -> Tensor:
    """Convolves numbers rounded to bfloat16, without bias; the result is bfloat16."""
    return F.conv2d(rounded(images, kernel), rounded(weight, kernel)).bfloat16()


class _ConvPool(torch.autograd.Function):
    """Shapes below: image N, band b, channel C, filter K of size k; r and b count pooled pixels."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        ceil_mode: bool,
        kernel: Kernel | None,
    ) -> Tensor:
        size, filters = weight.shape[2], len(weight)
        height, width = (edge - size + 1 for edge in images.shape[2:])  # before pooling
        rows, bands = ((edge + ceil_mode) // 2 for edge in (height, width))
        patches = _patches(_bands(rounded(images, kernel), size, rows, bands), size)
        matrix = _matrix(rounded(weight, kernel))
        pooled = images.new_empty(len(images), rows, bands, filters)
        places = pooled.permute(1, 2, 0, 3)  # (r, b, N, K)
        won = None
        if any(ctx.needs_input_grad):
            won = torch.empty(rows, 3, *places.shape[1:], dtype=torch.int8)
        scores, halves = _block(places, patches.dtype)
        (left, right), (top, bottom) = scores.unbind(4), halves.unbind(1)
        best = places.new_empty(top.shape)
        products = scores.view(2 * len(best), -1, 2 * filters)
        for first in range(0, rows, len(best)):
            here = slice(first, first + len(best))
            _multiply(patches[2 * here.start : 2 * here.stop], matrix, products)
            # A copy to itself, unless the kernel multiplies bfloat16 numbers as float32.
            products.copy_(rounded(products, kernel))
            if height < 2 * here.stop:  # outputs beyond the edge never win
                scores[-1, 1] = -torch.inf
            if width < 2 * bands:
                right[:, :, -1] = -torch.inf
            torch.maximum(left, right, out=halves)
            torch.maximum(top, bottom, out=best)
            # Adding the bias after the maximum is the same as before it.
            torch.clamp(best.add_(bias), min=0, out=places[here])
            if won is not None:  # the first wins a tie, as in PyTorch
                won[here, 0] = top.ge_(bottom)
                won[here, 1:] = left.ge_(right)
        if won is not None:
            ctx.save_for_backward(images, weight, bias, patches, matrix, pooled, won)
            ctx.size, ctx.ceil_mode, ctx.kernel = size, ceil_mode, kernel
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, patches, matrix, pooled, won = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            inputs = (images, weight, bias)
            needed = [part for part in inputs if part.requires_grad]
            plain = plain_conv_pool(*inputs, ctx.ceil_mode, ctx.kernel)
            found = iter(torch.autograd.grad(plain, needed, gradient, create_graph=True))
            return (*(next(found) if part.requires_grad else None for part in inputs), None, None)
        n, channels, height, width = images.shape
        _, rows, bands, filters = pooled.shape
        gradient = gradient.permute(0, 2, 3, 1) * pooled.sign()  # (N, r, b, K)
        for_bias = gradient.sum((0, 1, 2))
        for_matrix = torch.zeros_like(matrix, dtype=gradient.dtype)
        for_patches = None
        if ctx.needs_input_grad[0]:
            high, wide = 2 * rows + ctx.size - 1, 2 * bands + ctx.size - 1
            for_bands = patches.new_zeros(bands, n, high, ctx.size + 1, channels)
            for_patches = _patches(for_bands, ctx.size)
        places = rounded(gradient, ctx.kernel).permute(1, 2, 0, 3)  # (r, b, N, K)
        scores, halves = _block(places, patches.dtype)
        (left, right), (top, bottom) = scores.unbind(4), halves.unbind(1)
        for first in range(0, rows, len(top)):
            here = slice(first, first + len(top))
            _split(places[here], won[here, 0], top, bottom)
            _split(halves, won[here, 1:], left, right)
            for y, score in enumerate(scores.view(-1, bands * n, 2 * filters), 2 * first):
                _add_product(for_matrix, patches[y].T, score)
                if for_patches is not None:
                    _add_product(for_patches[y], score, matrix.T)
        for_images = None
        if for_patches is not None:
            for_images = gradient.new_zeros(n, high, wide, channels)
            for band, part in enumerate(for_bands):
                for_images[:, :, 2 * band : 2 * band + ctx.size + 1] += part
            for_images = _fitted(for_images.permute(0, 3, 1, 2), height, width)
        for_weight = _weight(for_matrix, ctx.size, channels)
        return for_images, for_weight, for_bias, None, None


def _block(places: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Allocates memory for R pooled rows, as many as fit into a core's cache; R divides r.

    Args:
        places: (r, b, N, K), the output of all rows.
        dtype: type of the memory.

    Returns:
        Scores of all windows, (R, 2, b, N, 2, K), and the larger of each pair, (R, 2, b, N, K).
    """
    rows, bands, n, filters = places.shape
    room = BLOCK_BYTES // (4 * bands * n * filters * dtype.itemsize)
    count = next(R for R in range(min(rows, max(room, 1)), 0, -1) if rows % R == 0)
    halves = places.new_empty(count, 2, bands, n, filters, dtype=dtype)
    return places.new_empty(count, 2, bands, n, 2, filters, dtype=dtype), halves


def _split(whole: Tensor, first_won: Tensor, first: Tensor, second: Tensor) -> None:
    """Passes a gradient to the winner of each pair, and 0 to the other."""
    second.copy_(first_won)
    torch.mul(whole, second, out=first)
    torch.sub(whole, first, out=second)


def _multiply(patches: Tensor, matrix: Tensor, products: Tensor) -> None:
    """Multiplies (y, b N, k (k + 1) C) by (k (k + 1) C, 2 K) into (y, b N, 2 K)."""
    if matrix.dtype != torch.bfloat16:
        torch.bmm(patches, matrix.expand(len(patches), -1, -1), out=products)
        return
    for patch, product in zip(patches, products, strict=True):
        torch.mm(patch, matrix, out=product)  # bmm would copy overlapping bfloat16 numbers


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a matrix product to a total, in the total's type."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _bands(images: Tensor, kernel: int, rows: int, bands: int) -> Tensor:
    """(N, C, H, W) -> (b, N, 2 r + k - 1, k + 1, C), zero-padded at an odd edge."""
    images = _fitted(images, 2 * rows + kernel - 1, 2 * bands + kernel - 1)
    return images.unfold(3, kernel + 1, 2).permute(3, 0, 2, 4, 1).contiguous()


def _fitted(images: Tensor, height: int, width: int) -> Tensor:
    """Crops or zero-pads images at the lower and the right edge."""
    if images.shape[2:] == (height, width):
        return images
    return F.pad(images, (0, width - images.shape[3], 0, height - images.shape[2]))


def _patches(bands: Tensor, kernel: int) -> Tensor:
    """Views bands as (2 r, b N, k (k + 1) C); patches of different rows overlap in memory."""
    count, n, height, width, channels = bands.shape
    line = width * channels
    size = (height - kernel + 1, count * n, kernel * line)
    return bands.as_strided(size, (line, height * line, 1))


def _matrix(weight: Tensor) -> Tensor:
    """Filters as a (k (k + 1) C, 2 K) matrix: each at both positions within a band."""
    filters, channels, kernel, _ = weight.shape
    matrix = weight.new_zeros(kernel, kernel + 1, channels, 2, filters)
    matrix[:, :-1, :, 0] = matrix[:, 1:, :, 1] = weight.permute(2, 3, 1, 0)
    return matrix.view(-1, 2 * filters)


def _weight(matrix: Tensor, kernel: int, channels: int) -> Tensor:
    """Transpose of `_matrix`: adds up both positions."""
    places = matrix.view(kernel, kernel + 1, channels, 2, -1)
    return (places[:, :-1, :, 0] + places[:, 1:, :, 1]).permute(3, 2, 0, 1)
