"""Convolutions of numbers rounded to bfloat16, whatever multiplies them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_cluster.stn.conv_pool import conv_pool
from stn_cluster.stn.convolution import Conv2d, ConvPool2d, convolved
from stn_cluster.stn.grids import AffineGrid
from stn_cluster.stn.models import Task, cnn, st_cnn
from stn_cluster.stn.modes import evaluating
from stn_cluster.stn.precision import AMX, AVX512, FLOAT32, Kernel, cpu_kernel, rounded

INTEL = "vendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: fpu avx512f{}\nbugs\t\t:\n"
AMD = "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t\t: fpu avx512f{}\nbugs\t\t:\n"

# --- which kernel ---


@pytest.mark.parametrize(
    ("cpu_info", "kernel"),
    [
        (INTEL.format(" avx512_bf16 amx_bf16 amx_tile"), AMX),
        (INTEL.format(" avx512_bf16"), FLOAT32),  # AMX is hidden
        (INTEL.format(""), FLOAT32),
        (AMD.format(" avx512_bf16"), AVX512),
        (AMD.format(""), FLOAT32),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", FLOAT32),  # not x86
    ],
)
def test_the_kernel_follows_from_the_processors_flags(cpu_info: str, kernel: Kernel) -> None:
    assert cpu_kernel(cpu_info) == kernel


# --- what a kernel comes to ---

KERNELS = pytest.mark.parametrize("kernel", [AVX512, FLOAT32], ids=["bfloat16", "float32"])
UNIT = 2**-8  # half of the distance between 1 and the next bfloat16


def gradients(layer: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The output, and the gradients of the inputs."""
    inputs = tuple(part.detach().clone().requires_grad_() for part in inputs)
    output = layer(*inputs)
    gradient = torch.randn(output.shape, generator=torch.manual_seed(1)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, gradient)]


def distance(found: Tensor, expected: Tensor) -> float:
    """Size of the difference of two tensors, relative to the second's."""
    return float((found - expected).norm() / expected.norm())


def exactly(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The three layers in float64, rounded where bf16 rounds."""
    images, weight = (part.bfloat16().double() for part in (images, weight))
    scores = F.conv2d(images, weight).bfloat16().double()
    return F.relu(F.max_pool2d(scores, 2, ceil_mode=True) + bias.double()[:, None, None])


@KERNELS
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 21), (8, 12)])
def test_images_weights_scores_and_gradients_are_rounded_and_nothing_else(
    kernel: Kernel, channels: int, size: int
) -> None:
    torch.manual_seed(0)
    images, weight = torch.rand(16, channels, size, size), torch.randn(8, channels, 5, 5) / 5
    bias = torch.randn(8) / 10

    def by_products(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return conv_pool(images, weight, bias, ceil_mode=True, kernel=kernel)

    def by_pytorch(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        pooled = F.max_pool2d(convolved(images, weight, kernel), 2, ceil_mode=True).float()
        return F.relu(pooled + bias[:, None, None])

    expected = gradients(exactly, images, weight, bias)
    for layer in (by_products, by_pytorch):
        output, *rest = gradients(layer, images, weight, bias)
        assert all(part.dtype == torch.float32 for part in (output, *rest))
        # The order of additions can turn a rounding, and that a window's winner.
        assert distance(output, expected[0]) < UNIT / 8
        for found, wanted in zip(rest, expected[1:], strict=True):
            assert distance(found, wanted) < 2 * UNIT


@KERNELS
def test_both_ways_are_near_float32(kernel: Kernel) -> None:
    torch.manual_seed(0)
    images, weight = torch.rand(32, 1, 28, 28), torch.randn(16, 1, 9, 9) / 9
    inputs = images, weight, torch.randn(16) / 10
    ours = gradients(lambda *given: conv_pool(*given, ceil_mode=True, kernel=kernel), *inputs)
    theirs = gradients(lambda *given: conv_pool(*given, ceil_mode=True), *inputs)
    assert 0 < distance(ours[0], theirs[0]) < UNIT
    for found, expected in zip(ours[1:], theirs[1:], strict=True):
        assert distance(found, expected) < 20 * UNIT  # where near scores change places


def test_numbers_stay_as_they_are_without_a_kernel() -> None:
    numbers = torch.rand(7)
    assert rounded(numbers, None) is numbers
    for kernel in (AMX, FLOAT32):
        assert torch.equal(rounded(numbers, kernel).float(), numbers.bfloat16().float())


# --- layers and networks ---


@pytest.mark.parametrize("layer", [Conv2d(1, 4, 3, "bf16"), ConvPool2d(1, 4, 3, precision="bf16")])
def test_under_autocast_a_layer_computes_the_same(layer: nn.Module) -> None:
    images = torch.rand(2, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(images)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, layer(images), atol=1e-2, rtol=0)


@pytest.mark.parametrize("build", [cnn, st_cnn])
@pytest.mark.parametrize("canvas", [28, 42])
def test_a_network_has_float32_around_its_convolutions(
    build: Callable[[Task], nn.Module], canvas: int
) -> None:
    models = {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        task = Task(canvas=canvas, filters=8, precision=precision, transform=AffineGrid)
        models[precision] = build(task)
    images = torch.rand(16, 1, canvas, canvas)
    labels = torch.arange(16) % 10
    kept: list[Tensor] = []
    found = {}
    for precision, model in models.items():
        for layer in model.modules():
            if not isinstance(layer, (Conv2d, ConvPool2d)):
                layer.register_forward_hook(lambda *given: kept.append(given[2]))
        F.cross_entropy(model(images), labels).backward()
        found[precision] = dict(model.named_parameters())
    assert all(part.dtype == torch.float32 for part in kept)
    assert found["float32"].keys() == found["bf16"].keys()
    for name, parameter in found["bf16"].items():
        gradient, expected = parameter.grad, found["float32"][name].grad
        assert gradient is not None
        assert expected is not None
        assert gradient.dtype == torch.float32
        if expected.norm() > 0:  # a transformer at the identity teaches its localisation nothing
            assert distance(gradient, expected) < 0.3, name


@pytest.mark.parametrize("build", [cnn, st_cnn])
def test_a_network_is_tested_as_it_is_trained(build: Callable[[Task], nn.Module]) -> None:
    torch.manual_seed(0)
    model = build(Task(filters=8, precision="bf16", transform=AffineGrid))
    images = torch.rand(32, 1, 28, 28)
    learning = model(images)
    assert learning.requires_grad
    with torch.no_grad():
        assert torch.equal(model(images), learning)
        with evaluating(model):
            assert torch.equal(model(images), learning)
    for layer in model.modules():
        if isinstance(layer, Conv2d):
            layer.precision = "float32"
    assert not torch.equal(model(images), learning)
