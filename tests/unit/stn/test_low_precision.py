"""Modules in bfloat16, float16 or float64: positions never have less than single precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.transforms import every_transform
from torch import Tensor, nn

from stn_cluster.stn import (
    BICUBIC,
    BILINEAR,
    NEAREST,
    AffineGrid,
    GridGenerator,
    Kernel,
    ProjectiveGrid,
    SpatialTransformer,
    sample,
)
from stn_cluster.stn.models import Task, st_cnn, st_fcn

every_precision = pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
WIDE = (128, 128)  # here, bfloat16 positions are up to half a pixel off


def images_of(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(0))


@every_transform
@every_precision
def test_a_transformer_keeps_its_positions_and_gives_its_own_precision(
    transform: type[GridGenerator], precision: torch.dtype
) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    transformer = SpatialTransformer(1, WIDE, transform=transform, localisation=net)
    images = images_of(2, 1, *WIDE).to(precision)
    placed = transformer(images.float(), details=True).grid
    output, theta, grid = transformer.to(precision)(images, details=True)
    assert output.dtype == precision
    assert theta.dtype == grid.dtype == torch.float32
    assert torch.equal(grid, transform(WIDE)(theta))
    assert (grid - placed).abs().max() < 0.1 * 2 / WIDE[0]  # a tenth of a pixel
    assert torch.equal(output, sample(images.float(), grid).to(precision))
    output.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in transformer.parameters())


@every_transform
@every_precision
def test_a_grid_takes_thetas_of_low_precision(
    transform: type[GridGenerator], precision: torch.dtype
) -> None:
    generator = transform((5, 6))
    theta = generator.identity[None].to(precision)
    for grid in (generator(theta), generator.to(precision)(theta)):
        assert torch.equal(grid, transform((5, 6))(theta.float()))


@every_transform
def test_a_grid_made_under_a_default_of_low_precision_is_single(
    transform: type[GridGenerator],
) -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        generator = transform((5, 6))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {buffer.dtype for buffer in generator.buffers()} == {torch.float32}


def test_numbers_of_a_grid_of_ones_own_stay_single_too() -> None:
    class Shift(GridGenerator):
        def __init__(self, size: tuple[int, int]) -> None:
            super().__init__(size)
            self.affine = AffineGrid(size)
            self.register_buffer("identity", torch.tensor([1 / 3, 0]))
            self.scale = nn.Parameter(torch.tensor(1 / 3))

        def forward(self, theta: Tensor) -> Tensor:
            one, zero = torch.ones_like(theta[:, 0]), torch.zeros_like(theta[:, 0])
            x, y = (theta * self.scale).unbind(1)
            return self.affine(torch.stack([one, zero, x, zero, one, y], dim=1))

    transformer = SpatialTransformer(1, (28, 28), transform=Shift)
    expected = transformer.grid(torch.ones(1, 2))
    transformer.bfloat16()
    assert transformer.grid.scale.dtype == torch.float32
    assert torch.equal(transformer.grid(torch.ones(1, 2)), expected)
    assert transformer(images_of(2, 1, 28, 28).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kernel", [BILINEAR, BICUBIC, NEAREST], ids=lambda k: k.name)
@pytest.mark.parametrize(
    ("of_images", "of_grid"),
    [
        (torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
    ],
)
def test_images_are_sampled_in_single_precision_at_least(
    kernel: Kernel, of_images: torch.dtype, of_grid: torch.dtype
) -> None:
    images = images_of(2, 3, 9, 7).to(of_images)
    grid = AffineGrid((5, 6))(torch.tensor([[0.9, 0.1, 0.2, -0.1, 1.1, 0.05]]).repeat(2, 1))
    grid = grid.to(of_grid)
    found = sample(images, grid, kernel)
    assert found.dtype == of_images
    expected = sample(images.double(), grid.double(), kernel)
    atol = max(torch.finfo(of_images).eps, torch.finfo(torch.float32).eps * 32)
    torch.testing.assert_close(found.double(), expected, atol=atol, rtol=0)


@every_precision
@pytest.mark.parametrize("build", [st_fcn, st_cnn])
def test_a_network_of_low_precision_scores_nearly_as_in_single(
    build: Callable[[Task], nn.Module], precision: torch.dtype
) -> None:
    network = build(Task(transform=ProjectiveGrid, filters=4))
    images = images_of(3, 1, 28, 28)
    expected = network(images)
    scores = network.to(precision)(images.to(precision))
    assert scores.dtype == precision
    torch.testing.assert_close(scores.float(), expected, atol=0.02, rtol=0.02)
    scores.float().logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
