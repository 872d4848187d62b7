"""Distortions by hand, against those of the project and against what is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.packs import make_cells

from stn_cluster.data.distortions import CornerShift, Similarity
from stn_cluster.drawing.hand_distortion import distort_by_hand
from stn_cluster.grid import Cell

CORNERS = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
POINTS = [[x * 2 / 3 - 1, y * 2 / 3 - 1] for y in range(4) for x in range(4)]


def a_cell(distortion: str) -> Cell:
    (cell,) = make_cells(models=["FCN"], distortions=[distortion])
    return cell


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(1))


def by_hand(image: torch.Tensor, distortion: str, **distort: Any) -> torch.Tensor:
    found = distort_by_hand(image, a_cell(distortion), distort or None)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("distortion", ["R", "RTS"])
def test_a_similarity_is_that_of_the_project(image: torch.Tensor, distortion: str) -> None:
    canvas = a_cell(distortion).canvas
    warp = Similarity(canvas=canvas, degrees=90, scale=(1, 1), shift=True)
    wanted = warp.apply(image[None], torch.tensor([[33.0, 1.2, -2.0, 3.0]]))[0]
    given = by_hand(image, distortion, kind="similarity", angle=33, scale=1.2, shift=[-2, 3])
    assert torch.allclose(given, wanted, atol=1e-6)


def test_corners_are_moved_as_by_the_projects_homography(image: torch.Tensor) -> None:
    moves = np.array([[1, 2], [-3, 0], [0, 4], [2, -1]], np.float32)  # px
    warp = CornerShift(canvas=42, diagonal=False, enlarged=False)
    wanted = warp.apply(image[None], torch.tensor([[1.0, *moves.ravel()]]))[0]
    corners = (np.array(CORNERS) + moves / 14).tolist()
    given = by_hand(image, "RTS", kind="corners", corners=corners)
    assert torch.allclose(given, wanted, atol=1e-5)


@pytest.mark.parametrize("distortion", ["R", "RTS", "E"])
@pytest.mark.parametrize(
    "distort",
    [
        {},
        {"kind": "similarity"},
        {"kind": "corners", "corners": CORNERS},
        {"kind": "points", "points": POINTS},
    ],
)
def test_what_moves_nothing_changes_nothing(
    image: torch.Tensor, distortion: str, distort: dict[str, Any]
) -> None:
    margin = (a_cell(distortion).canvas - 28) // 2
    wanted = torch.nn.functional.pad(image, (margin,) * 4)
    found = by_hand(image, distortion, **distort)
    inside = (slice(None), *(slice(margin + 1, margin + 27),) * 2)  # edges blend into the outside
    assert torch.allclose(found[inside], wanted[inside], atol=1e-4)


def test_a_dot_goes_where_its_control_point_goes() -> None:
    centre = 14 + 28 / 6  # px of the control point (2, 2), from the frame's edge
    dot = torch.zeros(1, 28, 28)
    dot[0, int(centre), int(centre)] = 1
    points = [list(point) for point in POINTS]
    points[10] = [points[10][0] - 0.25, points[10][1] + 0.125]
    found = by_hand(dot, "R", kind="points", points=points)[0]
    mass = found.sum()
    columns = torch.arange(28) + 0.5
    x, y = (
        float((found.sum(0) * columns).sum() / mass),
        float((found.sum(1) * columns).sum() / mass),
    )
    assert abs(x - (int(centre) + 0.5 - 0.25 * 14)) < 0.4
    assert abs(y - (int(centre) + 0.5 + 0.125 * 14)) < 0.4


def test_turned_copies_are_those_turned_one_by_one(image: torch.Tensor) -> None:
    cell = a_cell("RTS")
    together = distort_by_hand(image, cell, {"kind": "similarity", "angle": 10}, [0, 20, -5])
    for angle, one in zip((10, 30, 5), together, strict=True):
        assert torch.allclose(one, by_hand(image, "RTS", kind="similarity", angle=angle), atol=1e-6)
    corners = {"kind": "corners", "corners": CORNERS}
    first, other = distort_by_hand(image, cell, corners, [0, 90])
    assert torch.allclose(other, first.rot90(-1, (1, 2)), atol=1e-4)


def test_two_points_in_one_place_are_no_error(image: torch.Tensor) -> None:
    points = [list(point) for point in POINTS]
    points[1] = points[0]
    assert torch.isfinite(by_hand(image, "R", kind="points", points=points)).all()
