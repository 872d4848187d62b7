"""Distortions of coloured pictures of other sizes, against SciPy, one channel at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from support.photographs import places

from stn_cluster.config_file import parse_config
from stn_cluster.data.distortions import CornerShift, Distortion, Similarity, Spline
from stn_cluster.data.stream import as_images, make_distortion
from stn_cluster.dataset_info import DatasetInfo, scaled
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup, parse_distortion, resolve

Array = NDArray[np.float64]
SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)  # clockwise from top left
BACKGROUND = (250, 30, 120)


def distortion_of(text: str, frame: int, background: tuple[int, ...] = (0, 0, 0)) -> Distortion:
    [cell] = resolve(parse_config({"models": ["FCN"], "distortions": [text]}))
    name, variant, canvas, canonical = parse_distortion(text, frame)
    data = DatasetInfo(frame=frame, channels=3, background=background)
    fields = {"distortion": canonical, "variant": variant, "canvas": canvas, "data": data}
    changed: Cell = cell.model_copy(update=fields)
    assert changed.distortion_name == name
    return make_distortion(changed)


def similarity(frame: int, canvas: int, row: Array) -> Callable[[Array], Array]:
    angle, scale, x, y = np.deg2rad(row[0]), *row[1:]
    forward = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return lambda points: np.linalg.solve(forward, (points - [x, y]).T).T


def corner_shift(frame: int, canvas: int, row: Array) -> Callable[[Array], Array]:
    """P on a canvas of 1.5 frames, which the image fills; its 8 equations are solved."""
    moved = row[0] * canvas / 2 * SQUARE + row[1:].reshape(4, 2)
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, frame / 2 * SQUARE, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    matrix = np.append(np.linalg.solve(np.array(rows), np.array(values)), 1).reshape(3, 3)

    def source(points: Array) -> Array:
        mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
        return np.asarray(mapped[:, :2] / mapped[:, 2:])

    return source


def spline(frame: int, canvas: int, row: Array) -> Callable[[Array], Array]:
    at = np.linspace(-frame / 2, frame / 2, 4)
    control = np.array([(x, y) for y in at for x in at])
    moved = control + row.reshape(16, 2)
    return RBFInterpolator(control, moved, kernel="thin_plate_spline", degree=1)


@pytest.mark.parametrize("background", [(0, 0, 0), BACKGROUND], ids=["black", "coloured"])
@pytest.mark.parametrize(
    ("name", "warp"),
    [("R", similarity), ("RTS", similarity), ("P", corner_shift), ("E", spline)],
)
def test_each_channel_is_the_one_that_scipy_gives(
    name: str, warp: Callable[..., Callable[[Array], Array]], background: tuple[int, ...]
) -> None:
    frame, n = 64, 6
    distortion = distortion_of(name, frame, background)
    pixels = places(n, frame, each=1, seed=3)
    parameters = distortion.draw(np.random.default_rng(5), n)
    images = as_images(torch.from_numpy(pixels))
    ours = distortion.apply(images, torch.from_numpy(parameters)).numpy()
    canvas = distortion.canvas
    assert ours.shape == (n, 3, canvas, canvas)
    at = np.arange(canvas) + 0.5 - canvas / 2
    points = np.array([(x, y) for y in at for x in at])
    for number in range(n):
        source = warp(frame, canvas, parameters[number].astype(float))(points)
        where = source.clip(-999, 999).T[::-1] + (frame - 1) / 2  # rows, columns
        for channel in range(3):
            read = map_coordinates(
                pixels[number, channel] / 255,
                where,
                order=1,
                mode="grid-constant",
                cval=background[channel] / 255,
            ).reshape(canvas, canvas)
            np.testing.assert_allclose(ours[number, channel], read, atol=1e-5)


def test_amounts_in_pixels_scale_with_the_frame() -> None:
    for name, amounts in (("R", slice(2, 4)), ("RTS", slice(2, 4)), ("P", slice(1, 9)), ("E", ...)):
        small, large = (distortion_of(name, frame) for frame in (28, 56))
        one, two = (d.draw(np.random.default_rng(0), 50) for d in (small, large))
        assert large.canvas == 2 * small.canvas
        np.testing.assert_allclose(two[:, amounts], 2 * one[:, amounts], rtol=1e-5, atol=1e-5)


def test_a_frame_of_28_draws_and_distorts_what_it_always_did() -> None:
    for name, plain in (
        ("R", Similarity(canvas=28, degrees=90, scale=(1, 1), shift=False)),
        ("P", CornerShift(canvas=42, diagonal=False, enlarged=True)),
        ("E", Spline(canvas=28)),
    ):
        [cell] = resolve(parse_config({"models": ["FCN"], "distortions": [name]}))
        assert make_distortion(cell) == plain


@pytest.mark.parametrize(
    ("frame", "canvases"),
    [(8, (8, 12)), (9, (9, 14)), (28, (28, 42)), (33, (33, 50)), (64, (64, 96)), (256, (256, 384))],
)
def test_canvases_are_one_frame_and_one_and_a_half(frame: int, canvases: tuple[int, int]) -> None:
    for text, canvas in zip(("R", "RTS"), canvases, strict=True):
        variant = {"R": "plain", "RTS": "frame"}[text]
        assert parse_distortion(text, frame) == (text, variant, canvas, text)
        assert parse_distortion(f"{text}:{canvas}", frame)[3] == text
    assert parse_distortion("P:xy", frame)[2] == frame
    assert parse_distortion("R:100", frame) == ("R", "plain", 100, "R:100")


def test_scaled_sizes_round_halves_up() -> None:
    assert [scaled(42, frame) for frame in (9, 28, 33, 65)] == [14, 42, 50, 98]
    assert [scaled(pixels, 28) for pixels in (1, 21, 28, 42)] == [1, 21, 28, 42]


@pytest.mark.parametrize("background", [(0, 0, 0), BACKGROUND], ids=["black", "coloured"])
def test_clean_leaves_every_pixel_what_it_is(background: tuple[int, ...]) -> None:
    pixels = torch.from_numpy(places(3, 32, each=1, seed=3))
    images = as_images(pixels)
    distortion = distortion_of("clean", 32, background)
    drawn = torch.from_numpy(distortion.draw(np.random.default_rng(0), 3))
    assert drawn.shape == (3, 0)
    assert torch.equal(distortion.apply(images, drawn), images)
    outside = torch.tensor(background).view(3, 1, 1) / 255
    framed = distortion_of("clean:48", 32, background).apply(images, drawn)
    assert torch.equal(framed[..., 8:40, 8:40], images)
    assert torch.equal(framed[:, :, :8], outside.expand(3, 3, 8, 48))
    cut = distortion_of("clean:16", 32, background).apply(images, drawn)
    assert torch.equal(cut, images[..., 8:24, 8:24])
    half = distortion_of("clean:33", 32, background)
    moved = half.apply(images, drawn)  # by half a pixel
    torch.testing.assert_close(
        moved[..., 1:-1, 1:-1],
        (images[..., 1:, 1:] + images[..., :-1, 1:] + images[..., 1:, :-1] + images[..., :-1, :-1])
        / 4,
        atol=1e-5,
        rtol=0,
    )


def test_clean_is_registered_beside_the_papers() -> None:
    assert lookup("distortion", "clean").plugin is None
    [cell] = resolve(parse_config({"models": ["CNN"], "distortions": ["clean"]}))
    assert cell.label == "CNN/none/clean/seed0"
    assert cell.canvas == 28
