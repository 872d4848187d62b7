"""The paper's figure: inputs, the grid on them, outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from stn_cluster.errors import UserError
from stn_cluster.figures.load_seen import Choice
from stn_cluster.figures.transformations import POINTS, SQUARE, Seen, transformations_figure
from stn_cluster.stn.grids import pixel_centres

SIDE = 20


def seen(images: int = 2) -> Seen:
    """Networks that look at the upper left quarter."""
    pictures = np.random.default_rng(0).random((images, SIDE, SIDE)).astype(np.float32)
    grid = pixel_centres((SIDE, SIDE)).reshape(SIDE, SIDE, 2).numpy() / 2 - 0.5
    output = [
        map_coordinates(one, ((grid[..., ::-1] + 1) * SIDE - 1).transpose(2, 0, 1) / 2, order=1)
        for one in pictures
    ]
    grids = np.broadcast_to(grid, (images, SIDE, SIDE, 2)).astype(np.float32)
    captions = tuple(str(number) for number in range(images))
    return Seen("ST-CNN/affine/R/seed0", pictures, grids, np.array(output, np.float32), captions)


def test_inputs_grids_and_outputs_stand_in_three_rows() -> None:
    one = seen()
    figure = transformations_figure([one])
    rows = np.array(figure.axes, object).reshape(3, 2)
    for row, shown in zip(rows, (one.images, one.images, one.output), strict=True):
        for axes, image in zip(row, shown, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
            assert tuple(axes.images[0].get_extent()) == SQUARE
    assert [row[0].get_ylabel() for row in rows] == ["(a)", "(b)", "(c)"]
    assert one.label in rows[0, 0].get_title("left")


def test_the_grids_corners_lie_on_the_pixels_that_are_looked_at() -> None:
    """The quarter's corner pixels are a quarter of a pixel from its corners."""
    axes = transformations_figure([seen()]).axes[2]
    points, outline = (line.get_xydata() for line in axes.lines)
    edge = 0.5 / SIDE
    corners = {(-1 + edge, -1 + edge), (-edge, -1 + edge), (-edge, -edge), (-1 + edge, -edge)}
    for lines in (points, outline):
        found = {(round(float(x), 6), round(float(y), 6)) for x, y in lines}
        assert {(round(x, 6), round(y, 6)) for x, y in corners} <= found
    assert len(points) == POINTS**2
    # In pixels of the drawn image: the centre of the last column's pixel is looked at by it.
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right, bottom, top) == (-1, 1, 1, -1)
    assert (outline[SIDE - 1, 0] - left) / (right - left) * SIDE == pytest.approx(SIDE / 2 - 0.25)


def test_a_network_may_have_fewer_images_than_another() -> None:
    figure = transformations_figure([seen(1), seen(3)])
    shown = [axes.get_visible() for axes in figure.axes]
    assert shown == 3 * [True, False, False] + 9 * [True]
    figure.draw_without_rendering()


def test_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    label = r"a$\q$/none/R/seed0"
    figure = transformations_figure([replace(seen(), label=label, captions=("US$", "CA$"))])
    figure.savefig(tmp_path / "one.svg")  # matplotlib's own: it would raise
    figure.savefig(tmp_path / "one.png")


def test_without_images_there_is_nothing_to_draw() -> None:
    with pytest.raises(UserError, match="no image was chosen"):
        transformations_figure([])
    with pytest.raises(UserError, match="unknown choice of images 'wort': did you mean 'worst'"):
        Choice("wort")
    with pytest.raises(UserError, match="number of images: at least 1, not 0"):
        Choice(count=0)
