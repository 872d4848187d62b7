"""The distortions' parameters: ranges and distributions of 20,000 draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from stn_cluster.data.distortions import Distortion
from stn_cluster.registry import lookup

N = 20_000
FRAME = 28
Array = NDArray[np.float64]
NAMES = (
    ("R", "plain", 28), ("R", "plain", 42), ("RTS", "plain", 42), ("RTS", "plain", 28),
    ("P", "diagonal", 28), ("P", "diagonal-enlarged", 42), ("P", "xy", 28),
    ("P", "xy", 42), ("E", "plain", 28), ("E", "plain", 42),
)  # fmt: skip


def make(name: str, variant: str = "plain", canvas: int = 28) -> Distortion:
    distortion: Distortion = lookup("distortion", name).load()(variant, canvas)
    return distortion


def draw(distortion: Distortion, n: int = N, seed: int = 0) -> Array:
    return distortion.draw(np.random.default_rng(seed), n).astype(np.float64)


def assert_uniform(values: Array, low: float, high: float) -> None:
    assert values.min() >= low
    assert values.max() <= high
    assert values.max() - values.min() > 0.995 * (high - low)
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001


def assert_normal(values: Array, sigma: float) -> None:
    assert stats.kstest(values, "norm", (0, sigma)).pvalue > 0.001


def assert_independent(*columns: Array) -> None:
    """Neither the values nor their sizes go together."""
    for values in (np.array(columns), np.abs(columns)):
        off_diagonal = np.corrcoef(values) - np.eye(len(columns))
        assert np.abs(off_diagonal).max() < 5 / np.sqrt(len(columns[0]))


def half_extent(angle: Array, scale: Array) -> Array:
    """Distance of the rotated and scaled frame's corners from its centre along each axis, in px."""
    radians = np.pi * angle / 180
    corners = [
        np.abs(x * np.cos(radians) - y * np.sin(radians)) for x in (-14, 14) for y in (-14, 14)
    ]
    return np.max(corners, axis=0) * scale


@pytest.mark.parametrize(("name", "variant", "canvas"), NAMES)
def test_a_draw_is_float32_and_a_function_of_the_generator_alone(
    name: str, variant: str, canvas: int
) -> None:
    columns = {"R": 4, "RTS": 4, "P": 9, "E": 32}[name]
    distortion, again = make(name, variant, canvas), make(name, variant, canvas)
    first = distortion.draw(np.random.default_rng(3), 50)
    assert first.shape == (50, columns)
    assert first.dtype == np.float32
    np.random.seed(1)
    torch.manual_seed(1)
    np.testing.assert_array_equal(again.draw(np.random.default_rng(3), 50), first)
    assert not np.array_equal(distortion.draw(np.random.default_rng(4), 50), first)
    assert isinstance(distortion, Distortion)
    assert distortion.canvas == canvas


@pytest.mark.parametrize("canvas", [28, 42])
def test_r_turns_by_an_angle_uniform_in_plus_minus_90_and_does_nothing_else(canvas: int) -> None:
    angle, scale, x, y = draw(make("R", canvas=canvas)).T
    assert_uniform(angle, -90, 90)
    assert np.all(scale == 1)
    assert not x.any()
    assert not y.any()


def test_rts_draws_angle_and_scale_uniformly_and_apart() -> None:
    angle, scale, x, y = draw(make("RTS", canvas=42)).T
    assert_uniform(angle, -45, 45)
    low, high = np.float32([0.7, 1.2]).astype(np.float64)
    assert_uniform(scale, low, high)
    assert_independent(angle, scale)
    assert x.std() > 1
    assert y.std() > 1


@pytest.mark.parametrize("canvas", [28, 42, 64])
def test_rts_places_the_frame_uniformly_in_the_room_that_is_left(canvas: int) -> None:
    angle, scale, x, y = draw(make("RTS", canvas=canvas)).T
    room = canvas / 2 - half_extent(angle, scale)
    fits = room > 0.01
    assert fits.any()
    assert fits.all() == (canvas == 64)
    places = [shift[fits] / room[fits] for shift in (x, y)]
    for place in places:
        assert np.abs(place).max() < 1 + 1e-4  # to the float32 the shift is kept in
        assert_uniform(place.clip(-1, 1), -1, 1)
        assert_independent(place, angle[fits])
        assert_independent(place, scale[fits])
    assert_independent(*places)
    for shift in (x, y):
        assert not shift[room < -1e-4].any()  # in the middle where it cannot fit


@pytest.mark.parametrize("canvas", [28, 42, 64])
def test_rts_keeps_all_corners_of_the_frame_within_the_canvas_where_they_fit(canvas: int) -> None:
    angle, scale, x, y = draw(make("RTS", canvas=canvas)).T
    fits = half_extent(angle, scale) <= canvas / 2
    cos, sin = scale * np.cos(np.deg2rad(angle)), scale * np.sin(np.deg2rad(angle))
    reached = []
    for u, v in [(-14, -14), (14, -14), (14, 14), (-14, 14)]:
        corner = np.stack([cos * u - sin * v + x, sin * u + cos * v + y])[:, fits]
        reached.append(np.abs(corner).max())
    assert max(reached) <= canvas / 2 + 1e-4
    assert max(reached) > canvas / 2 - 0.1  # and all of the room is used


@pytest.mark.parametrize("variant", ["xy", "xy-enlarged"])
def test_p_xy_moves_each_corner_by_five_pixels_in_x_and_in_y_independently(variant: str) -> None:
    scale, *moves = draw(make("P", variant)).T
    assert_uniform(scale, 0.75, 1.0)
    for move in moves:
        assert_normal(move, 5.0)
    assert_independent(scale, *moves)


@pytest.mark.parametrize("variant", ["diagonal", "diagonal-enlarged"])
def test_p_diagonal_moves_each_corner_by_five_pixels_along_its_own_diagonal(variant: str) -> None:
    scale, *moves = draw(make("P", variant)).T
    assert_uniform(scale, 0.75, 1.0)
    amounts = []
    outward = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / np.sqrt(
        2
    )  # from top left, clockwise
    for (x, y), (dx, dy) in zip(np.array(moves).reshape(4, 2, -1), outward, strict=True):
        np.testing.assert_allclose(x * dy - y * dx, 0, atol=1e-5)
        amounts.append(x * dx + y * dy)
        assert_normal(amounts[-1], 5.0)
    assert_independent(scale, *amounts)


@pytest.mark.parametrize("canvas", [28, 42])
def test_e_moves_each_of_16_control_points_by_one_and_a_half_pixels(canvas: int) -> None:
    moves = draw(make("E", canvas=canvas)).T
    assert len(moves) == 32
    for move in moves:
        assert_normal(move, 1.5)
    assert_independent(*moves)
