"""Drawings made into images of a data set, against NumPy and SciPy."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from stn_cluster.dataset_info import MNIST, DatasetInfo
from stn_cluster.drawing.drawn_image import as_frame, decode, encode
from stn_cluster.errors import UserError


def pad(*boxes: tuple[int, int, int, int], side: int = 280) -> torch.Tensor:
    """A pad with white boxes: top, left, height, width."""
    drawn = torch.zeros(1, side, side)
    for top, left, height, width in boxes:
        drawn[:, top : top + height, left : left + width] = 1
    return drawn


@given(st.integers(0, 100), st.integers(0, 100), st.integers(20, 170), st.integers(20, 170))
def test_a_digit_is_as_large_as_in_mnist_and_its_mass_in_the_middle(
    top: int, left: int, height: int, width: int
) -> None:
    image = as_frame(pad((top, left, height, width)), "mnist", MNIST)[0].numpy()
    rows, columns = np.nonzero(image)
    extent = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
    assert extent == 20
    centre = np.array(ndimage.center_of_mass(image)) + 0.5
    assert abs(centre - 14).max() <= 0.5
    assert np.allclose(image * 255, np.round(image * 255), atol=1e-4)  # as bytes have it


def test_where_a_drawing_is_on_the_pad_makes_no_difference() -> None:
    here = as_frame(pad((10, 20, 100, 30), (10, 20, 30, 100)), "mnist", MNIST)
    there = as_frame(pad((110, 70, 100, 30), (110, 70, 30, 100)), "mnist", MNIST)
    assert torch.equal(here, there)


def test_an_uneven_drawing_is_moved_to_its_centre_of_mass() -> None:
    image = as_frame(pad((0, 0, 200, 200), (0, 200, 20, 60)), "mnist", MNIST)[0].numpy()
    rows, columns = np.nonzero(image)
    box = (rows.min() + rows.max() + 1) / 2, (columns.min() + columns.max() + 1) / 2
    assert box[1] > 14.5  # the box is not in the middle; the mass is
    assert abs(np.array(ndimage.center_of_mass(image)) + 0.5 - 14).max() <= 0.5


def test_scikit_learns_digits_are_as_coarse_as_8_by_8_pixels() -> None:
    drawn = pad((40, 130, 200, 20))
    image = as_frame(drawn, "digits", MNIST)[0]
    assert image[4:24].amax(1).min() > 0
    assert not image[:4].any()
    assert not image[24:].any()
    # 200 pixels high are 8; 20 wide are less than one: a column of the small image.
    small = torch.zeros(8, 8)
    small[:, 3] = 1
    large = torch.nn.functional.interpolate(small[None, None], size=(20, 20), mode="bilinear")
    assert torch.allclose(image[4:24, 4:24], (large[0, 0] * 255).round() / 255, atol=1e-6)


@pytest.mark.parametrize("name", ["mnist", "digits", "signs"])
def test_an_empty_pad_is_an_empty_image(name: str) -> None:
    assert not as_frame(pad(), name, MNIST).any()


def test_a_picture_is_scaled_as_a_whole_with_its_colours() -> None:
    info = DatasetInfo(frame=16, channels=3, background=(0, 0, 0))
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    image = as_frame(picture, "signs", info)
    assert image.shape == (3, 16, 16)
    # As Pillow reduces it: with a triangle of twice the factor.
    own = PIL.Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    theirs = np.asarray(own.resize((16, 16), PIL.Image.Resampling.BILINEAR)) / 255
    assert abs(image.permute(1, 2, 0).numpy() - theirs).max() < 1.5 / 255
    grey = as_frame(picture, "signs", DatasetInfo(frame=16))
    assert torch.allclose(grey[0], image.mean(0), atol=1 / 255)


def request(content: bytes, side: int = 8, channels: int = 1) -> dict[str, Any]:
    pixels = base64.b64encode(content).decode()
    return {"side": side, "channels": channels, "pixels": pixels}


def test_pixels_survive_the_way_here_and_back() -> None:
    content = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = decode(request(content.tobytes(), channels=3))
    assert np.array_equal(image.permute(1, 2, 0).numpy() * 255, content.astype(np.float32))
    assert encode(image) == request(content.tobytes(), channels=3)


@pytest.mark.parametrize(
    "given", [request(b"12"), request(b"") | {"pixels": "?"}, request(bytes(65))]
)
def test_pixels_that_are_none_are_told(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^pixels: "):
        decode(given)
