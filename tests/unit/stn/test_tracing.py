"""What looks into a network, second derivatives and torch.export above all, sees it whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.transforms import every_transform
from torch import Tensor, nn

from stn_cluster.stn import (
    BICUBIC,
    AffineGrid,
    GridGenerator,
    ProjectiveGrid,
    SpatialTransformer,
    ThinPlateSplineGrid,
)
from stn_cluster.stn.conv_pool import conv_pool
from stn_cluster.stn.convolution import ConvPool2d
from stn_cluster.stn.models import Task, cnn, fcn, st_cnn, st_fcn


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(seed), dtype=torch.float64)


def moved(network: nn.Module) -> nn.Module:
    """A network whose transformers have left the identity."""
    generator = torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, SpatialTransformer):
            nn.init.normal_(module.theta.weight, std=0.1, generator=generator)
    return network


# --- second derivatives ---


@every_transform
@pytest.mark.parametrize("kernel", [None, BICUBIC], ids=["bilinear", "bicubic"])
def test_second_derivatives_of_a_transformer_agree_with_finite_differences(
    transform: type[GridGenerator], kernel: object
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, 3), nn.Tanh())
    options = {} if kernel is None else {"kernel": kernel}
    transformer = SpatialTransformer(1, (4, 5), (2, 3), transform=transform, localisation=net,
                                     **options)  # type: ignore[arg-type]  # fmt: skip
    images = random(2, 1, 4, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(moved(transformer).double(), (images,))


def test_second_derivatives_of_a_projective_grid_are_finite_at_its_horizon() -> None:
    theta = torch.tensor([[1, 0.1, 0.2, -0.1, 1, 0.3, -4, 0]], requires_grad=True)
    grid = ProjectiveGrid((4, 4))(theta)
    [first] = torch.autograd.grad(grid.sum(), theta, create_graph=True)
    [second] = torch.autograd.grad(first.sum(), theta)
    assert second.isfinite().all()
    assert second.count_nonzero()


@pytest.mark.parametrize("size", [(8, 8), (8, 9)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_second_derivatives_of_a_pooled_convolution_agree_with_finite_differences(
    size: tuple[int, int], ceil_mode: bool
) -> None:
    inputs = (random(2, 1, *size), random(2, 1, 3, 3, seed=1) - 0.5, random(2, seed=2))
    inputs = tuple(part.requires_grad_() for part in inputs)
    assert torch.autograd.gradgradcheck(lambda *parts: conv_pool(*parts, ceil_mode), inputs)


def test_second_derivatives_reach_a_pooled_convolutions_input_under_autocast() -> None:
    layer, images = ConvPool2d(1, 2, 3), random(2, 1, 8, 8).float().requires_grad_()
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            scores = layer(images)
        [first] = torch.autograd.grad(scores.square().sum(), images, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), images)[0])
    assert found[0].count_nonzero()
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("build", [st_fcn, st_cnn])
def test_a_penalty_on_gradients_trains_the_whole_network(
    build: Callable[[Task], nn.Module],
) -> None:
    network = moved(build(Task(transform=ProjectiveGrid, filters=4)))
    images = random(3, 1, 28, 28).float().requires_grad_()
    [gradient] = torch.autograd.grad(network(images).logsumexp(1).sum(), images, create_graph=True)
    gradient.square().sum().backward()
    weights = [p.grad for name, p in network.named_parameters() if name.endswith("weight")]
    assert all(found is not None and found.count_nonzero() for found in weights)


# --- recording and transforming ---


@pytest.mark.parametrize(
    ("build", "transform"),
    [
        (fcn, None),
        (cnn, None),
        (st_fcn, AffineGrid),
        (st_fcn, ProjectiveGrid),
        (st_cnn, ProjectiveGrid),
        (st_cnn, ThinPlateSplineGrid),
    ],
)
def test_an_exported_network_computes_the_same_for_any_number_of_images(
    build: Callable[[Task], nn.Module], transform: type[GridGenerator] | None
) -> None:
    network = moved(build(Task(transform=transform, filters=4))).eval()
    given, others = random(2, 1, 28, 28).float(), random(5, 1, 28, 28, seed=1).float()
    shapes = ({0: torch.export.Dim("images")},)
    exported = torch.export.export(network, (given,), dynamic_shapes=shapes).module()
    torch.testing.assert_close(exported(others), network(others), atol=1e-5, rtol=1e-5)


def test_an_exported_transformer_tells_its_details() -> None:
    transformer = moved(SpatialTransformer(2, (28, 30), (9, 8), transform=ThinPlateSplineGrid))
    images = random(3, 2, 28, 30).float()
    program = torch.export.export(transformer.eval(), (images,), {"details": True})
    for found, expected in zip(
        program.module()(images, details=True), transformer(images, details=True), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@every_transform
def test_per_image_gradients_by_torch_func_are_those_of_each_image(
    transform: type[GridGenerator],
) -> None:
    network = moved(SpatialTransformer(1, (28, 28), (5, 5), transform=transform)).double()

    def score(image: Tensor) -> Tensor:
        scores: Tensor = network(image[None]).square().sum()
        return scores

    images = random(3, 1, 28, 28).requires_grad_()
    found = torch.func.vmap(torch.func.grad(score))(images.detach())
    expected = torch.autograd.grad(sum(score(image) for image in images), images)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected)
