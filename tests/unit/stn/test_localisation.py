"""Localisation nets: the paper's two, and what is asked of one's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stn_cluster.stn import ConvLocalisation, LinearLocalisation, SpatialTransformer

Size = tuple[int, int]


@pytest.mark.parametrize(
    ("net", "shape"),
    [(nn.Conv2d(1, 4, 3), "(1, 4, 6, 6)"), (nn.Flatten(0), "(64,)"), (nn.Flatten(2), "(1, 1, 64)")],
)
def test_a_localisation_net_of_another_output_shape_is_refused(net: nn.Module, shape: str) -> None:
    with pytest.raises(ValueError, match=r"returns features \(N, F\)") as caught:
        SpatialTransformer(1, (8, 8), localisation=net)
    assert shape in str(caught.value)


def test_an_unknown_localisation_net_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'convolution': a module, 'conv' or 'linear'"):
        SpatialTransformer(1, (28, 28), localisation="convolution")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(27, 28), (28, 27), (8, 8)])
def test_conv_localisation_says_how_small_an_input_may_be(size: Size) -> None:
    with pytest.raises(ValueError, match=f"from 28x28 pixels, not {size[0]}x{size[1]}"):
        SpatialTransformer(1, size, localisation="conv")


@pytest.mark.parametrize(
    ("make", "size", "features"),
    [
        (ConvLocalisation, (28, 28), 20),
        (ConvLocalisation, (42, 29), 20),
        (LinearLocalisation, (42, 29), 32),
        (LinearLocalisation, (1, 1), 32),
    ],
)
def test_the_papers_localisation_nets_give_their_features(
    make: Callable[[int, Size], nn.Module], size: Size, features: int
) -> None:
    net = make(3, size)
    assert net(torch.rand(5, 3, *size)).shape == (5, features)


def test_conv_localisation_looks_at_the_input_downsampled_by_averages_of_two() -> None:
    torch.manual_seed(0)
    net, images = ConvLocalisation(2, (28, 30)), torch.rand(3, 2, 28, 30)
    blocks = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2)
    torch.testing.assert_close(net(blocks), net(images), atol=1e-6, rtol=0)
    assert not torch.allclose(net(images.flip(2)), net(images), atol=1e-4)


def test_finding_the_number_of_features_leaves_the_statistics_of_the_net_alone() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    SpatialTransformer(1, (8, 8), localisation=net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "modes",
    [
        (True, True),
        (False, False),
        pytest.param(
            (True, False),
        ),
    ],
)
def test_finding_the_number_of_features_leaves_training_modes_as_they_were(
    modes: tuple[bool, bool],
) -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    net.train(modes[0])
    net[0].train(modes[1])  # a frozen part of a net in training
    SpatialTransformer(1, (8, 8), localisation=net)
    assert (net.training, net[0].training) == modes
