"""What networks say of images, what transformers do to them, and distorting images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stn_cluster import distort, predict, transformations
from stn_cluster.errors import UserError
from stn_cluster.stn import ProjectiveGrid, SpatialTransformer, sample


class Brightest(nn.Module):
    """Scores are the first two pixels; counts the batches."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images.flatten(1)[:, :2]


def test_the_most_likely_class_and_its_probability() -> None:
    images = torch.zeros(250, 1, 8, 8)
    images[::2, 0, 0, 1] = 1
    classes, confidences = predict(Brightest().train(), images)
    assert classes.tolist() == [1, 0] * 125
    assert torch.allclose(confidences[::2], torch.tensor(1 / (1 + np.exp(-1)), dtype=torch.float32))
    assert torch.equal(confidences[1::2], torch.full((125,), 0.5))


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 1, 8, 8)])
def test_images_of_bytes_are_those_of_0_to_1(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    one = predict(Brightest(), pixels)
    other = predict(Brightest(), torch.from_numpy(pixels).float() / 255)
    assert torch.equal(one.confidences, other.confidences)
    assert len(one.classes) == 1


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.full((1, 8, 8), 200.0), "floating point of 0 to 1 or whole numbers of 0 to 255, not"),
        (np.full((1, 8, 8), 300), "not torch.int64 of 300 to 300"),
        (np.full((1, 8, 8), np.nan), "of 0 to 1"),
        (np.zeros(8), r"\(N, C, H, W\), \(N, H, W\) or \(H, W\), not \(8,\)"),
        (np.zeros((0, 8, 8)), r"not \(0, 8, 8\)"),
        ([["a"]], "list gives no array"),
    ],
)
def test_what_are_no_images_is_told(images: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        predict(Brightest(), images)  # type: ignore[arg-type]


def test_transformations_are_those_of_every_call() -> None:
    torch.manual_seed(0)
    first = SpatialTransformer(1, (28, 28), (14, 14), transform=ProjectiveGrid)
    second = SpatialTransformer(1, (14, 14))
    for layer in (first, second):
        layer.theta.weight.data.normal_(0, 0.01)
    model = nn.Sequential(first, second, second, nn.Flatten()).train()
    images = torch.rand(3, 1, 28, 28)
    calls = transformations(model, images)
    assert [call.theta.shape for call in calls] == [(3, 8), (3, 6), (3, 6)]
    before = images
    for call in calls:
        assert torch.equal(call.output, sample(before, call.grid))
        before = call.output
    assert torch.equal(model(images), before.flatten(1))
    assert model.training
    assert transformations(nn.Flatten(), images) == []


@pytest.mark.parametrize("distortion", ["R", "RTS", "P", "P:xy", "E:42"])
def test_a_seed_names_how_images_are_distorted(distortion: str) -> None:
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[:, 8:20, 12:16] = 255
    one, again, other = (distort(images, distortion, seed) for seed in (1, 1, 2))
    edge = 28 if distortion in ("R", "P:xy") else 42
    assert one.shape == (2, 1, edge, edge)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    assert 0 <= float(one.min()) < float(one.max()) <= 1


def test_what_cannot_be_distorted_is_told() -> None:
    with pytest.raises(UserError, match="unknown distortion 'Q'"):
        distort(torch.zeros(1, 28, 28), "Q")
    with pytest.raises(UserError, match="images of 28x20 pixels: a distortion takes square ones"):
        distort(torch.zeros(1, 28, 20), "R")
    with pytest.raises(UserError, match="cannot be distorted"):
        distort(torch.zeros(1, 2, 28, 28), "R")
