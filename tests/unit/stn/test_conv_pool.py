"""Blocks of rows change no bit of what the same products, all in memory at once, come to."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.stn.conv_pool import conv_pool


def plainly(
    images: Tensor, weight: Tensor, bias: Tensor, ceil_mode: bool, gradient: Tensor
) -> tuple[Tensor, ...]:
    """Output, and the gradients of images, weight and bias."""
    n, channels, *edges = images.shape
    filters, _, k, _ = weight.shape
    height, width = (edge - k + 1 for edge in edges)
    rows, bands = ((edge + ceil_mode) // 2 for edge in (height, width))
    high, wide = 2 * rows + k - 1, 2 * bands + k - 1
    padded = F.pad(images, (0, wide - edges[1], 0, high - edges[0])).permute(0, 2, 3, 1)

    matrix = torch.zeros(k, k + 1, channels, 2, filters)
    for place in (0, 1):
        matrix[:, place : place + k, :, place] = weight.permute(2, 3, 1, 0)
    matrix = matrix.reshape(-1, 2 * filters)
    patches = [
        torch.cat(
            [padded[:, y : y + k, 2 * b : 2 * b + k + 1].reshape(n, -1) for b in range(bands)]
        )
        for y in range(2 * rows)
    ]
    lines = torch.bmm(torch.stack(patches), matrix.expand(2 * rows, -1, -1))
    windows = lines.view(rows, 2, bands, n, 2, filters).permute(3, 0, 2, 5, 1, 4).contiguous()
    if height < 2 * rows:
        windows[:, -1, :, :, 1] = -torch.inf
    if width < 2 * bands:
        windows[:, :, -1, :, :, 1] = -torch.inf
    windows = windows.flatten(4)  # (n, rows, bands, filters, 4)
    best = windows.amax(-1)
    output = F.relu(best + bias)

    passed = gradient.permute(0, 2, 3, 1) * (output > 0)
    is_best = windows == best[..., None]
    first = is_best & (is_best.cumsum(-1) == 1)
    back = (passed[..., None] * first).view(n, rows, bands, filters, 2, 2)
    back = back.permute(1, 4, 2, 0, 5, 3).reshape(2 * rows, bands * n, 2 * filters)
    for_matrix = torch.zeros_like(matrix)
    for_bands = torch.zeros(bands, n, high, k + 1, channels)
    for y, (patch, line) in enumerate(zip(patches, back, strict=True)):
        for_matrix.addmm_(patch.T, line)
        seen = for_bands[:, :, y : y + k]
        seen.copy_(torch.addmm(seen.reshape(bands * n, -1), line, matrix.T).view(seen.shape))
    for_images = torch.zeros(n, high, wide, channels)
    for b, band in enumerate(for_bands):
        for_images[:, :, 2 * b : 2 * b + k + 1] += band
    for_images = F.pad(for_images.permute(0, 3, 1, 2), (0, edges[1] - wide, 0, edges[0] - high))
    places = for_matrix.view(k, k + 1, channels, 2, filters)
    for_weight = (places[:, :-1, :, 0] + places[:, 1:, :, 1]).permute(3, 2, 0, 1)
    return output.permute(0, 3, 1, 2), for_images, for_weight, passed.sum((0, 1, 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("edges", "filters", "kernel"),
    [
        ((28, 28), 32, 9),
        ((42, 42), 32, 9),
        ((14, 14), 20, 5),  # of the localisation net
        ((28, 28), 64, 9),
        ((29, 22), 6, 9),  # odd edges
        ((22, 29), 1, 9),
    ],
)
@pytest.mark.parametrize("batch", [1, 7, 128])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["down", "up"])
def test_blocks_of_rows_change_no_bit(
    channels: int,
    edges: tuple[int, int],
    filters: int,
    kernel: int,
    batch: int,
    ceil_mode: bool,
) -> None:
    torch.manual_seed(0)
    images = (torch.rand(batch, channels, *edges) - 0.5).clamp(min=0).requires_grad_()  # with ties
    weight = ((torch.rand(filters, channels, kernel, kernel) - 0.5) / kernel).requires_grad_()
    bias = (0.1 * torch.randn(filters)).requires_grad_()
    output = conv_pool(images, weight, bias, ceil_mode)
    for layout in (torch.contiguous_format, torch.channels_last):
        gradient = torch.randn(output.shape).contiguous(memory_format=layout)
        inputs = (images, weight, bias)
        found = output, *torch.autograd.grad(output, inputs, gradient, retain_graph=True)
        expected = plainly(*(part.detach() for part in inputs), ceil_mode, gradient)
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.equal(ours, theirs)
