"""The spatial transformer module: identity at the start, fits anywhere, trains."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support.transforms import TRANSFORMS, every_transform
from torch import Tensor, nn

from stn_cluster.stn import (
    BICUBIC,
    BILINEAR,
    NEAREST,
    AffineGrid,
    ConvLocalisation,
    GridGenerator,
    Kernel,
    LinearLocalisation,
    SpatialTransformer,
    ThinPlateSplineGrid,
    sample,
)

Size = tuple[int, int]


def random_images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(0), dtype=torch.float64).to(dtype)


def pooling_net() -> nn.Module:
    """A localisation net of one's own that fits any input."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(5), nn.Tanh())


def localisation_of(name: str) -> nn.Module | str:
    return pooling_net() if name == "own" else name


@every_transform
@pytest.mark.parametrize("kernel", [BILINEAR, BICUBIC, NEAREST], ids=lambda k: k.name)
@pytest.mark.parametrize(
    ("localisation", "channels", "size"),
    [
        ("conv", 1, (28, 28)),
        ("conv", 3, (42, 33)),
        ("linear", 1, (28, 28)),
        ("linear", 2, (5, 9)),
        ("own", 17, (7, 12)),
        ("own", 1, (1, 1)),
    ],
)
def test_it_starts_as_the_identity(
    transform: type[GridGenerator], localisation: str, channels: int, size: Size, kernel: Kernel
) -> None:
    transformer = SpatialTransformer(
        channels, size, transform=transform, localisation=localisation_of(localisation),
        kernel=kernel,
    )  # fmt: skip
    images = random_images(3, channels, *size)
    if kernel.native:
        matrix = torch.eye(2, 3).repeat(3, 1, 1)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        pytorchs = F.grid_sample(images, grid, mode=kernel.native, align_corners=False)
        ours_off, theirs_off = (
            (found - images).abs().max() for found in (transformer(images), pytorchs)
        )
        assert ours_off <= theirs_off
    else:
        assert torch.equal(transformer(images), images)
    images = random_images(3, channels, *size, dtype=torch.float64)
    torch.testing.assert_close(transformer.double()(images), images, atol=1e-6, rtol=0)


@every_transform
@pytest.mark.parametrize("output_size", [(14, 14), (28, 28), (45, 31), (3, 60)])
def test_at_the_start_another_output_size_is_a_plain_resizing(
    transform: type[GridGenerator], output_size: Size
) -> None:
    transformer = SpatialTransformer(
        2, (28, 36), output_size, transform=transform, padding="border"
    )
    images = random_images(3, 2, 28, 36)
    expected = F.interpolate(images, output_size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(transformer(images), expected, atol=1e-5, rtol=0)


@every_transform
@pytest.mark.parametrize("kernel", [BILINEAR, NEAREST], ids=lambda k: k.name)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_details_tell_the_theta_and_the_grid_that_gave_the_output(
    transform: type[GridGenerator], kernel: Kernel, padding: str
) -> None:
    transformer = SpatialTransformer(
        3, (8, 9), (6, 5), transform=transform, localisation=pooling_net(), kernel=kernel,
        padding=padding,  # type: ignore[arg-type]
    )  # fmt: skip
    nn.init.normal_(transformer.theta.weight, std=0.3, generator=torch.manual_seed(1))
    images = random_images(4, 3, 8, 9)
    output, theta, grid = transformer(images, details=True)
    assert output.shape == (4, 3, 6, 5)
    assert grid.shape == (4, 6, 5, 2)
    assert theta.shape == (4, transform((6, 5)).n_parameters)
    assert not torch.equal(theta[0], theta[1])
    features = transformer.localisation(images)
    assert torch.equal(theta, F.linear(features, transformer.theta.weight, transformer.theta.bias))
    assert torch.equal(grid, transform((6, 5))(theta))
    assert torch.equal(output, sample(images, grid, kernel, padding))  # type: ignore[arg-type]
    assert torch.equal(output, transformer(images))


@pytest.mark.parametrize(
    ("localisation", "transform"), zip(("conv", "linear", "own"), TRANSFORMS, strict=True)
)
def test_it_trains_inside_a_larger_network(
    localisation: str, transform: type[GridGenerator]
) -> None:
    torch.manual_seed(0)
    transformer = SpatialTransformer(
        4, (28, 28), (12, 12), transform=transform, localisation=localisation_of(localisation)
    )
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    network = nn.Sequential(
        convolution, nn.ReLU(), transformer, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 3)
    )
    images, labels = random_images(12, 1, 28, 28), torch.arange(12) % 3
    for image, label in zip(images, labels, strict=True):
        image[:, 9 * label : 9 * label + 9] += 1  # a bright band, its place tells the class
    others = [p for layer in network if layer is not transformer for p in layer.parameters()]
    groups = [{"params": transformer.parameters(), "lr": 0.0005}, {"params": others}]
    optimiser = torch.optim.Adam(groups, lr=0.005)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@every_transform
def test_gradients_reach_the_images_through_theta_and_through_the_sampler(
    transform: type[GridGenerator],
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(40, 3), nn.Tanh())
    transformer = SpatialTransformer(2, (4, 5), (3, 3), transform=transform, localisation=net)
    nn.init.normal_(transformer.theta.weight, std=0.1, generator=torch.manual_seed(1))
    images = random_images(2, 2, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(transformer.double(), (images,))


@every_transform
def test_it_learns_a_known_translation(transform: type[GridGenerator]) -> None:
    x = torch.linspace(-1, 1, 20)
    blob = torch.exp(-4 * (x[:, None] ** 2 + 2 * x[None, :] ** 2)).view(1, 1, 20, 20)
    target = torch.roll(blob, shifts=(2, -3), dims=(2, 3))  # down by 2, left by 3 pixels
    transformer = SpatialTransformer(1, (20, 20), transform=transform, localisation="linear")
    optimiser = torch.optim.Adam([transformer.theta.bias], lr=0.02)
    losses = []
    for _ in range(80):
        loss = F.mse_loss(transformer(blob), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
    _, _, grid = transformer(blob, details=True)
    peak = grid[0, 12, 7] - grid.new_tensor([1 / 20, 1 / 20])  # what lands there was at (10, 10)
    torch.testing.assert_close(peak, torch.zeros(2), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("transform", "kernel"), [(ThinPlateSplineGrid, BILINEAR), (AffineGrid, NEAREST)]
)
def test_an_empty_batch_gives_an_empty_one(transform: type[GridGenerator], kernel: Kernel) -> None:
    transformer = SpatialTransformer(2, (28, 28), (5, 6), transform=transform, kernel=kernel)
    assert transformer(torch.zeros(0, 2, 28, 28)).shape == (0, 2, 5, 6)


@every_transform
def test_autocast_leaves_the_grid_in_full_precision(transform: type[GridGenerator]) -> None:
    transformer = SpatialTransformer(1, (28, 28), transform=transform)
    images = random_images(3, 1, 28, 28)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _, grid = transformer(images, details=True)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(output, images, atol=1e-4, rtol=0)


def test_a_saved_transformer_is_loaded_into_a_new_one() -> None:
    first, second = (
        SpatialTransformer(1, (28, 28), transform=ThinPlateSplineGrid) for _ in range(2)
    )
    nn.init.normal_(first.theta.weight, std=0.1, generator=torch.manual_seed(1))
    images = random_images(2, 1, 28, 28)
    assert not torch.equal(first(images), second(images))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images), second(images))


def test_images_of_another_size_are_refused_by_name() -> None:
    transformer = SpatialTransformer(2, (8, 9), localisation=pooling_net())
    for shape in [(4, 2, 9, 8), (4, 1, 8, 9), (2, 8, 9), (4, 2, 8, 10)]:
        with pytest.raises(ValueError, match=r"takes images \(N, 2, 8, 9\)") as caught:
            transformer(torch.zeros(shape))
        assert f"not {shape}" in str(caught.value)


def test_without_a_named_net_small_inputs_get_the_linear_one() -> None:
    large, small = SpatialTransformer(3, (28, 40)), SpatialTransformer(64, (14, 14))
    assert isinstance(large.localisation, ConvLocalisation)
    assert isinstance(small.localisation, LinearLocalisation)
    assert small(torch.rand(2, 64, 14, 14)).shape == (2, 64, 14, 14)


def test_a_net_of_ones_own_may_be_in_another_precision() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    transformer = SpatialTransformer(1, (4, 4), localisation=net).double()
    assert transformer(torch.rand(2, 1, 4, 4, dtype=torch.float64)).dtype == torch.float64
