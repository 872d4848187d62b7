"""ConvPool2d is a convolution, a max-pool by 2 and a ReLU, computed in another way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stn_cluster.stn.convolution import ConvPool2d

SHAPES = [  # images, filters, kernel
    ((2, 1, 28, 28), 6, 9),
    ((3, 2, 9, 13), 5, 3),
    ((2, 1, 8, 9), 4, 4),  # an odd height, before pooling
    ((2, 1, 9, 8), 4, 4),  # an odd width
    ((2, 3, 7, 8), 4, 6),
    ((1, 3, 6, 6), 1, 5),
    ((2, 4, 8, 6), 3, 1),
    ((2, 5, 8, 6), 3, 3),  # from five channels on it is PyTorch's own
    ((2, 16, 7, 7), 4, 2),
]


def pair(
    channels: int, filters: int, kernel: int, ceil_mode: bool = True
) -> tuple[ConvPool2d, nn.Sequential]:
    """Both with the same parameters."""
    torch.manual_seed(0)
    ours = ConvPool2d(channels, filters, kernel, ceil_mode).double()
    theirs = nn.Conv2d(channels, filters, kernel).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, nn.Sequential(theirs, nn.MaxPool2d(2, ceil_mode=ceil_mode), nn.ReLU())


def value_and_gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    output = layer(images)
    weights = torch.rand(output.shape, dtype=output.dtype, generator=torch.manual_seed(1))
    loss = ((output - 0.3).square() * weights).sum()
    return [output, *torch.autograd.grad(loss, (*layer.parameters(), images))]


@pytest.mark.parametrize(("shape", "filters", "kernel"), SHAPES)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels last"])
@pytest.mark.parametrize("ceil_mode", [False, True], ids=["down", "up"])
def test_values_and_gradients_are_those_of_the_three_layers(
    shape: tuple[int, ...], filters: int, kernel: int, layout: str, ceil_mode: bool
) -> None:
    ours, theirs = pair(shape[1], filters, kernel, ceil_mode)
    images = torch.rand(shape, dtype=torch.float64, generator=torch.manual_seed(2))
    if layout == "transposed":
        images = images.transpose(2, 3)
    if layout == "channels last":
        images = images.contiguous(memory_format=torch.channels_last)
    found, expected = (value_and_gradients(layer, images) for layer in (ours, theirs))
    assert found[0].shape == expected[0].shape
    for ours_is, theirs_is in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_is, theirs_is, atol=1e-10, rtol=0)


def test_in_float32_it_agrees_to_rounding() -> None:
    ours, theirs = (layer.float() for layer in pair(1, 8, 9))
    images = torch.rand(4, 1, 28, 28, generator=torch.manual_seed(2))
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_agree_with_finite_differences(channels: int) -> None:
    layer, _ = pair(channels, 2, 3)
    images = torch.rand(2, channels, 5, 4, dtype=torch.float64, generator=torch.manual_seed(3))
    inputs = (images.requires_grad_(), layer.weight, layer.bias)
    assert torch.autograd.gradcheck(
        lambda u, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, (u,)), inputs
    )


def test_of_equal_scores_in_a_window_the_first_gets_the_gradient() -> None:
    ours, theirs = pair(1, 3, 3)
    images = torch.zeros(2, 1, 8, 9, dtype=torch.float64)  # every window is a tie of four
    images[1, 0, 3:, 4:] = 1.0
    with torch.no_grad():
        for layer in (ours, theirs[0]):
            layer.bias.fill_(0.5)
    for found, expected in zip(
        value_and_gradients(ours, images), value_and_gradients(theirs, images), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_only_what_is_asked_for_has_a_gradient() -> None:
    layer, _ = pair(1, 2, 3)
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    assert not torch.equal(layer(images), torch.zeros(()))
    layer(images).sum().backward()
    assert images.grad is None
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    assert not layer(images).requires_grad
    layer(images.requires_grad_()).sum().backward()
    assert images.grad is not None


def test_under_autocast_it_computes_in_float32() -> None:
    layer = ConvPool2d(1, 4, 3)
    images = torch.rand(2, 1, 8, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(images)
    assert torch.equal(output, layer(images))
    output.sum().backward()
    assert layer.weight.grad is not None


def test_it_starts_with_the_parameters_conv2d_would_draw() -> None:
    torch.manual_seed(5)
    ours = ConvPool2d(1, 4, 9)
    torch.manual_seed(5)
    theirs = nn.Conv2d(1, 4, 9)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)  # type: ignore[arg-type]


def test_an_empty_batch_gives_an_empty_one() -> None:
    ours, theirs = pair(1, 4, 3)
    nothing = torch.zeros(0, 1, 8, 6, dtype=torch.float64)
    assert ours(nothing).shape == theirs(nothing).shape == (0, 4, 3, 2)


def test_an_image_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(RuntimeError):
        ConvPool2d(1, 4, 9)(torch.zeros(1, 1, 8, 8))
