"""The distorted images, against warps written plainly in numpy, one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from torch import Tensor

from stn_cluster.data.distortions import CornerShift, Distortion, Similarity, Spline
from stn_cluster.registry import lookup

Array = NDArray[np.float64]
SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)  # clockwise from top left
NAMES = tuple(
    (name, variant, canvas)
    for name, variants in {
        "R": ["plain"],
        "RTS": ["plain"],
        "P": ["diagonal", "diagonal-enlarged", "xy", "xy-enlarged"],
        "E": ["plain"],
    }.items()
    for variant in variants
    for canvas in (28, 33, 42)
)
every_distortion = pytest.mark.parametrize(("name", "variant", "canvas"), NAMES)


def make(name: str, variant: str = "plain", canvas: int = 28) -> Distortion:
    distortion: Distortion = lookup("distortion", name).load()(variant, canvas)
    return distortion


def draw(distortion: Distortion, n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(distortion.draw(np.random.default_rng(seed), n))


def random_images(n: int) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.manual_seed(0))


def centred(image: Tensor, canvas: int) -> Tensor:
    """The image in the middle of a larger, empty canvas."""
    margin = (canvas - 28) // 2
    return F.pad(image, (margin,) * 4)


def source_of_similarity(points: Array, row: Array) -> Array:
    """Turned clockwise (y points down), scaled, shifted: undone in the reverse order."""
    angle, scale, x, y = row
    a = np.deg2rad(angle)
    forward = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.linalg.solve(forward, (points - [x, y]).T).T


def source_of_corner_shift(points: Array, row: Array, half: float) -> Array:
    """The homography that takes the moved corners back to the frame's, from its 8 equations."""
    moved = row[0] * half * SQUARE + row[1:].reshape(4, 2)
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, 14 * SQUARE, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    matrix = np.append(np.linalg.solve(np.array(rows), np.array(values)), 1).reshape(3, 3)
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def source_of_spline(points: Array, row: Array) -> Array:
    at = np.linspace(-14, 14, 4)
    control = np.array([(x, y) for y in at for x in at])
    moved = control + row.reshape(16, 2)
    spline: Array = RBFInterpolator(control, moved, kernel="thin_plate_spline", degree=1)(points)
    return spline


def warped(image: Tensor, distortion: Distortion, row: Tensor) -> Array:
    """One image, distorted: where each output pixel (px from the centre) is read, then read."""
    canvas = distortion.canvas
    at = np.arange(canvas) + 0.5 - canvas / 2
    points = np.array([(x, y) for y in at for x in at])
    parameters = row.double().numpy()
    if isinstance(distortion, Similarity):
        source = source_of_similarity(points, parameters)
    elif isinstance(distortion, CornerShift):
        half = canvas / 2 if distortion.enlarged else 14
        source = source_of_corner_shift(points, parameters, half)
    else:
        source = source_of_spline(points, parameters)
    where = source.clip(-100, 100).T[::-1] + 13.5  # rows, columns
    read: Array = map_coordinates(image[0].double().numpy(), where, order=1, mode="grid-constant")
    return read.reshape(canvas, canvas)


@every_distortion
def test_each_image_is_the_one_an_independent_warp_gives(
    name: str, variant: str, canvas: int
) -> None:
    distortion = make(name, variant, canvas)
    images, parameters = random_images(25), draw(distortion, 25)
    found = distortion.apply(images, parameters)
    assert found.shape == (25, 1, canvas, canvas)
    assert found.dtype == torch.float32
    for image, row, ours in zip(images, parameters, found, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), warped(image, distortion, row), atol=1e-4)


@pytest.mark.parametrize("canvas", [28, 42, 64])
@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [
        ("R", "plain", [0, 1, 0, 0]),
        ("RTS", "plain", [0, 1, 0, 0]),
        ("P", "diagonal", [1] + [0] * 8),
        ("P", "xy", [1] + [0] * 8),
        ("E", "plain", [0] * 32),
    ],
)
def test_parameters_that_move_nothing_give_the_image_in_the_middle_of_the_canvas(
    name: str, variant: str, parameters: list[float], canvas: int
) -> None:
    images = random_images(2)
    found = make(name, variant, canvas).apply(images, torch.tensor([parameters] * 2).float())
    torch.testing.assert_close(found, centred(images, canvas), atol=2e-5, rtol=0)


@pytest.mark.parametrize("variant", ["diagonal-enlarged", "xy-enlarged"])
def test_an_enlarged_image_fills_its_canvas(variant: str) -> None:
    images, still = random_images(2), torch.tensor([[1.0] + [0.0] * 8] * 2)
    found = make("P", variant, 42).apply(images, still)
    expected = F.interpolate(images, (42, 42), mode="bilinear", align_corners=False)
    inner = (..., slice(1, -1), slice(1, -1))  # at the border one mixes in the background
    torch.testing.assert_close(found[inner], expected[inner], atol=2e-5, rtol=0)
    torch.testing.assert_close(
        make("P", variant, 28).apply(images, still), images, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["R", "RTS"])
@pytest.mark.parametrize("canvas", [28, 42])
def test_a_positive_angle_turns_clockwise_as_seen(name: str, canvas: int) -> None:
    images = random_images(2)
    for angle, quarters in ((90, -1), (-90, 1), (180, 2)):
        found = make(name, canvas=canvas).apply(images, torch.tensor([[angle, 1.0, 0, 0]] * 2))
        expected = torch.rot90(centred(images, canvas), quarters, (2, 3))
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_a_shift_is_in_pixels_to_the_right_and_down() -> None:
    images = random_images(1)
    found = make("RTS", canvas=42).apply(images, torch.tensor([[0, 1.0, 3, -2]]))
    expected = torch.roll(centred(images, 42), (-2, 3), (2, 3))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_control_points_say_where_pixels_are_read() -> None:
    images = random_images(1)
    found = make("E").apply(images, torch.tensor([[2.0, -3.0] * 16]))  # 2 right, 3 up
    expected = F.pad(images, (0, 2, 3, 0))[..., :28, 2:]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_in_rts_nothing_is_cut_off_where_the_frame_fits() -> None:
    distortion = make("RTS", canvas=42)
    parameters = draw(distortion, 400)
    angle, scale, x, y = parameters.double().unbind(1)
    turned = torch.deg2rad(angle)
    fits = 14 * scale * (turned.cos().abs() + turned.sin().abs()) <= 21
    assert 100 < fits.sum() < 400
    mass = distortion.apply(torch.ones(400, 1, 28, 28), parameters).sum((1, 2, 3)).double()
    whole = scale.square() * 28**2
    # A side on the canvas's very edge loses its soft half pixel: 0.4 % each, two at most.
    torch.testing.assert_close(mass[fits], whole[fits], rtol=0.01, atol=0)
    assert not x[~fits].any()
    assert not y[~fits].any()
    assert (mass[~fits] < whole[~fits] * 1.005).all()


@every_distortion
def test_apply_is_pure_and_each_image_is_distorted_alone(
    name: str, variant: str, canvas: int
) -> None:
    distortion = make(name, variant, canvas)
    images, parameters = random_images(9), draw(distortion, 9, seed=1)
    images_before, parameters_before = images.clone(), parameters.clone()
    found = distortion.apply(images, parameters)
    assert torch.equal(found, distortion.apply(images, parameters))
    assert torch.equal(found, make(name, variant, canvas).apply(images, parameters))
    assert torch.equal(images, images_before)
    assert torch.equal(parameters, parameters_before)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    one_by_one = [distortion.apply(images[i : i + 1], parameters[i : i + 1]) for i in range(9)]
    torch.testing.assert_close(torch.cat(one_by_one), found, atol=1e-5, rtol=0)
    backwards = distortion.apply(images.flip(0), parameters.flip(0)).flip(0)
    torch.testing.assert_close(backwards, found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", ["xy", "diagonal"])
@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (0, 0), (0, 0), (0, 0)],
        [(5, 5), (5, 5), (5, 5), (5, 5)],
        [(-9, -9), (-3, -3), (3, 3), (9, 9)],  # on one line
        [(-9, -9), (9, -9), (9, 9), (9, -9)],  # two in one place
        [(-9, -9), (9, -9), (0, -9), (-9, 9)],  # three on one line
        [(-9, -9), (9, 9), (9, -9), (-9, 9)],  # a bow tie
        [(-9, -9), (9, -9), (-5, -5), (-9, 9)],  # not convex
        [(9, -9), (-9, -9), (-9, 9), (9, 9)],  # mirrored
    ],
)
def test_degenerate_quadrilaterals_give_finite_images(
    corners: list[tuple[int, int]], variant: str
) -> None:
    moves = torch.tensor(corners).float().view(1, 8)  # the scale 0 puts all corners in the middle
    found = make("P", variant).apply(random_images(1), torch.cat([torch.zeros(1, 1), moves], 1))
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6


def test_the_spline_is_made_once_and_not_part_of_what_a_distortion_is() -> None:
    distortion = make("E")
    assert isinstance(distortion, Spline)
    distortion.apply(random_images(1), torch.zeros(1, 32))
    (grid,) = distortion._grids.values()
    distortion.apply(random_images(2), torch.zeros(2, 32))
    assert list(distortion._grids.values()) == [grid]
    assert distortion == make("E")
