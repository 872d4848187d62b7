"""The sampler: PyTorch's grid_sample, the taps, and plain numpy check one another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cluster.stn.sampler import (
    BICUBIC,
    BILINEAR,
    NEAREST,
    PADDINGS,
    Kernel,
    Padding,
    sample,
    sample_by_taps,
)

every_padding = pytest.mark.parametrize("padding", PADDINGS)
every_native_kernel = pytest.mark.parametrize("kernel", [BILINEAR, BICUBIC], ids=lambda k: k.name)
NUMPY_PADDING = {"zeros": "constant", "border": "edge", "reflection": "symmetric"}


def b_spline(d: Tensor) -> Tensor:
    r = d.abs()
    far = torch.where(r < 1.5, (1.5 - r) ** 2 / 2, torch.zeros_like(r))
    return torch.where(r < 0.5, 0.75 - r * r, far)


def lanczos(d: Tensor) -> Tensor:
    return torch.where(d.abs() < 3, torch.sinc(d) * torch.sinc(d / 3), torch.zeros_like(d))


def lopsided(d: Tensor) -> Tensor:
    """Not symmetric: it tells x - m from m - x."""
    return (1 - d.abs()).clamp(min=0) * (1 + 0.5 * d)


CUSTOM = (
    Kernel("quadratic B-spline", b_spline, radius=2),
    Kernel("Lanczos", lanczos, radius=3),
    Kernel("lopsided", lopsided, radius=1),
)


def random_images(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.manual_seed(1))


def grid_at(positions: Tensor, height: int, width: int) -> Tensor:
    """The grid (N, H', W', 2) that reads at positions (x, y) in pixels, 0 the first centre."""
    return (2 * positions + 1) / torch.tensor([width, height], dtype=torch.float64) - 1


def random_grid(n: int, height: int, width: int, reach: float) -> Tensor:
    """(n, height, width, 2) within +-reach, where 1 is the image's edge."""
    noise = torch.rand(n, height, width, 2, dtype=torch.float64, generator=torch.manual_seed(2))
    return (2 * noise - 1) * reach


def read_all_pixels(images: Tensor, grid: Tensor, kernel: Kernel, padding: Padding) -> np.ndarray:
    """The paper's double sum over every pixel n, m of the image padded by numpy."""
    margin = 64
    edges = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    padded = np.pad(images.numpy(), edges, mode=NUMPY_PADDING[padding])  # type: ignore[call-overload]
    height, width = images.shape[2:]
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    weights_x = kernel.weight(x[..., None] - (torch.arange(padded.shape[3]) - margin))
    weights_y = kernel.weight(y[..., None] - (torch.arange(padded.shape[2]) - margin))
    assert max(x.abs().max(), y.abs().max()) < margin - kernel.radius
    return np.einsum("bcnm,bijn,bijm->bcij", padded, weights_y.numpy(), weights_x.numpy())


@every_padding
@every_native_kernel
@pytest.mark.parametrize("reach", [1.3, 8.0, 500.0])
def test_taps_and_grid_sample_agree_also_far_outside(
    kernel: Kernel, padding: Padding, reach: float
) -> None:
    images, grid = random_images(3, 4, 7, 10), random_grid(3, 6, 5, reach)
    mode = str(kernel.native)
    expected = F.grid_sample(images, grid, mode=mode, padding_mode=padding, align_corners=False)
    found = sample_by_taps(images, grid, kernel, padding)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(sample(images, grid, kernel, padding), expected, atol=0, rtol=0)


@every_padding
@pytest.mark.parametrize("kernel", [*CUSTOM, BILINEAR, BICUBIC], ids=lambda k: k.name)
def test_any_kernel_gives_the_papers_double_sum(kernel: Kernel, padding: Padding) -> None:
    images, grid = random_images(2, 3, 6, 9), random_grid(2, 5, 8, 2.0)
    expected = read_all_pixels(images, grid, kernel, padding)
    found = sample(images, grid, kernel, padding)
    assert found.shape == (2, 3, 5, 8)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_default_is_bilinear_with_zeros_outside() -> None:
    images, grid = random_images(2, 3, 6, 9), random_grid(2, 5, 8, 2.0)
    assert torch.equal(sample(images, grid), sample(images, grid, BILINEAR, "zeros"))
    assert not torch.equal(sample(images, grid), sample(images, grid, BILINEAR, "border"))


@every_padding
def test_nearest_reads_the_pixel_at_floor_of_x_plus_a_half(padding: Padding) -> None:
    height, width, margin = 4, 8, 40  # powers of two: halves of a pixel are exact
    images = random_images(3, 2, height, width)
    positions = (random_grid(3, 30, 40, 1.0) * 35 * 4).round() / 4  # quarters: many exact halves
    assert ((positions % 1) == 0.5).any()
    edges = ((0, 0), (0, 0), (margin, margin), (margin, margin))
    padded = np.pad(images.numpy(), edges, mode=NUMPY_PADDING[padding])  # type: ignore[call-overload]
    column, row = np.moveaxis(np.floor(positions.numpy() + 0.5).astype(int) + margin, -1, 0)
    expected = np.stack([image[:, i, j] for image, i, j in zip(padded, row, column, strict=True)])
    found = sample(images, grid_at(positions, height, width), NEAREST, padding)
    np.testing.assert_array_equal(found.numpy(), expected)


@every_padding
@pytest.mark.parametrize("kernel", [NEAREST, BILINEAR, BICUBIC, *CUSTOM], ids=lambda k: k.name)
def test_infinitely_far_points_read_finite_values(kernel: Kernel, padding: Padding) -> None:
    images = random_images(1, 1, 5, 5).float()
    grid = torch.tensor([1e4, -1e4, 1e12, -1e12]).view(1, 2, 2, 1).expand(1, 2, 2, 2)
    found = sample(images, grid, kernel, padding)
    assert found.isfinite().all()
    if padding == "zeros":
        assert not found.any()
    if padding == "border" and kernel.name != "Lanczos" and kernel.name != "lopsided":
        last, first = images[0, 0, -1, -1], images[0, 0, 0, 0]
        expected = torch.stack([last, first, last, first]).view(1, 1, 2, 2)
        torch.testing.assert_close(found, expected)


@every_padding
@pytest.mark.parametrize("function", [sample, sample_by_taps])
@pytest.mark.parametrize("kernel", [BILINEAR, BICUBIC, *CUSTOM], ids=lambda k: k.name)
def test_gradients_agree_with_finite_differences_away_from_kinks(
    function: object, kernel: Kernel, padding: Padding
) -> None:
    images = random_images(2, 2, 4, 5).requires_grad_()
    noise = torch.rand(2, 2, 3, 2, dtype=torch.float64, generator=torch.manual_seed(3))
    whole = (noise * 8 - 2).floor()  # inside and up to two pixels outside
    off_kinks = 0.6 + 0.3 * noise.flip(0)  # whole pixels and halves are kinks
    grid = grid_at(whole + off_kinks, 4, 5).requires_grad_()
    assert callable(function)
    assert torch.autograd.gradcheck(lambda u, g: function(u, g, kernel, padding), (images, grid))


@every_padding
def test_nearest_has_gradients_in_the_images(padding: Padding) -> None:
    images = random_images(2, 2, 4, 5).requires_grad_()
    grid = random_grid(2, 3, 3, 1.5)
    assert torch.autograd.gradcheck(lambda u: sample(u, grid, NEAREST, padding), (images,))


@every_native_kernel
@every_padding
def test_both_ways_of_sampling_have_the_same_gradients(kernel: Kernel, padding: Padding) -> None:
    gradients = []
    for function in (sample, sample_by_taps):
        images = random_images(2, 3, 6, 5).requires_grad_()
        grid = random_grid(2, 4, 4, 1.6).requires_grad_()
        output = function(images, grid, kernel, padding)
        gradients.append(torch.autograd.grad(output.square().sum(), (images, grid)))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=0)


@pytest.mark.parametrize("kernel", [NEAREST, BILINEAR], ids=lambda k: k.name)
def test_an_unknown_padding_is_refused_by_name(kernel: Kernel) -> None:
    images, grid = random_images(1, 1, 4, 4), random_grid(1, 4, 4, 1.0)
    with pytest.raises(ValueError, match="'wrap': allowed are zeros, border, reflection"):
        sample(images, grid, kernel, "wrap")  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", [NEAREST, BILINEAR], ids=lambda k: k.name)
@pytest.mark.parametrize(
    ("images", "grid"),
    [
        ((4, 4), (1, 4, 4, 2)),
        ((1, 4, 4), (1, 4, 4, 2)),
        ((1, 1, 4, 4), (1, 4, 4, 3)),
        ((1, 1, 4, 4), (1, 4, 2)),
        ((2, 1, 4, 4), (3, 4, 4, 2)),
        ((2, 1, 4, 4), (1, 4, 4, 2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(
    images: tuple[int, ...], grid: tuple[int, ...], kernel: Kernel
) -> None:
    with pytest.raises(ValueError, match="sample takes images") as caught:
        sample(torch.zeros(images), torch.zeros(grid), kernel)
    assert f"not {images} and {grid}" in str(caught.value)


@pytest.mark.parametrize("kernel", [NEAREST, BILINEAR, BICUBIC], ids=lambda kernel: kernel.name)
def test_outside_of_the_image_there_is_the_background(kernel: Kernel) -> None:
    generator = torch.manual_seed(0)
    images = torch.rand(4, 3, 9, 9, generator=generator, dtype=torch.float64)
    grid = 3 * torch.rand(4, 7, 7, 2, generator=generator, dtype=torch.float64) - 1.5
    background = torch.tensor([0.2, 1.0, 0.0], dtype=torch.float64).view(3, 1, 1)
    found = sample(images, grid, kernel, background=background)
    # The same image in the middle of a large one that is background all over.
    large = background.expand(4, 3, 45, 45).clone()
    large[..., 18:27, 18:27] = images
    expected = sample(large, grid / 5, kernel)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    zeros = sample(images, grid, kernel, background=torch.zeros(3, 1, 1, dtype=torch.float64))
    assert torch.equal(zeros, sample(images, grid, kernel))
    with pytest.raises(ValueError, match="padding 'border' and a background"):
        sample(images, grid, kernel, "border", background)
