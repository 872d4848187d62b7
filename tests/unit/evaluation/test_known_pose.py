"""What transformers leave to undo: of the exact inverse nothing, of the identity what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator, RegularGridInterpolator
from scipy.optimize import least_squares
from scipy.spatial import procrustes
from support.packs import make_cells
from torch import Tensor, nn

from stn_cluster.data.datasets import load_dataset
from stn_cluster.data.distorted_images import DistortedImages
from stn_cluster.evaluation.draws import drawn_images
from stn_cluster.evaluation.evaluation_sets import clean_set, evaluation_set
from stn_cluster.evaluation.known_pose import (
    PoseErrors,
    PoseTest,
    at_points,
    mean_pose,
    output_points,
)
from stn_cluster.evaluation.severities import parse_test_distortion
from stn_cluster.stn import AffineGrid, GridGenerator, ProjectiveGrid, SpatialTransformer
from stn_cluster.stn.grids import ThinPlateSplineGrid

CPU = torch.device("cpu")
DATA = load_dataset("digits")
N = 50
PIXELS = [0, 2, 4, 5, 7, 9, 11, 13, 14, 16, 18, 20, 22, 23, 25, 27]  # 16 of 28
COORDINATES = (2 * np.array(PIXELS) + 1) / 28 - 1
POINTS_OF_28 = np.stack(np.meshgrid(COORDINATES, COORDINATES), -1).reshape(-1, 2)
Array = NDArray[np.float64]


class Case(NamedTuple):
    distorted: DistortedImages
    clean: DistortedImages
    drawn: Array  # (N, P)
    test: PoseTest


def case(own: str, asked: str | None = None) -> Case:
    [cell] = make_cells(models=["FCN"], distortions=[own])
    test = evaluation_set(cell, parse_test_distortion(asked or own))
    distorted, clean = drawn_images(test, DATA, CPU), drawn_images(clean_set(cell), DATA, CPU)
    drawn = distorted.parameters()[:N].double().numpy()
    return Case(distorted, clean, drawn, PoseTest(distorted, clean))


def found(errors: PoseErrors | None) -> PoseErrors:
    assert errors is not None
    return errors


def errors_of(one: Case, grid: Tensor, clean_grid: Tensor) -> PoseErrors:
    return found(one.test.errors(0, at_points(grid), at_points(clean_grid), grid.shape[1:3]))


class ByHand(nn.Module):
    """A localisation net that says theta of one image after another, whatever it sees."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = theta

    def forward(self, images: Tensor) -> Tensor:
        return self.theta[: len(images)]


def predicted(theta: Tensor, canvas: int, make: Callable[..., GridGenerator]) -> Tensor:
    """The grid of a real transformer whose last layer passes theta on."""
    transformer = SpatialTransformer(
        1, (canvas, canvas), transform=make, localisation=ByHand(theta.float())
    )
    nn.init.eye_(transformer.theta.weight)
    nn.init.zeros_(transformer.theta.bias)
    with torch.no_grad():
        return transformer(torch.zeros(len(theta), 1, canvas, canvas), details=True).grid


def forward_matrix(row: Array, canvas: int) -> Array:
    """(2, 3): undistorted -> distorted positions, both with the canvas at -1 to 1."""
    a = np.deg2rad(row[0])
    turn = row[1] * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.column_stack([turn, row[2:] / (canvas / 2)])


@pytest.mark.parametrize(
    ("own", "asked"),
    [("R", "R"), ("RTS", "RTS"), ("R", "R@2"), ("RTS", "RTS@0.5"), ("RTS", "R"), ("P", "RTS")],
)
def test_the_exact_inverse_leaves_nothing(own: str, asked: str) -> None:
    one = case(own, asked)
    canvas = one.distorted.cell.canvas
    theta = torch.tensor(np.array([forward_matrix(row, canvas).ravel() for row in one.drawn]))
    grid = predicted(theta, canvas, AffineGrid)
    clean = predicted(torch.eye(2, 3).flatten().expand(N, -1), canvas, AffineGrid)
    errors = errors_of(one, grid, clean)
    for values in (errors.degrees, errors.log2_scale, errors.shift_px, errors.squared_px.sqrt()):
        assert values.shape == (N,)
        assert float(values.max()) < 1e-3
    # So does one that puts both into another pose, which is the same for both.
    other = torch.tensor([[0.7, 0.5, 0.1], [-0.5, 0.8, -0.2], [0, 0, 1.0]], dtype=torch.float64)
    bottom = torch.tensor([0, 0, 1.0], dtype=torch.float64).expand(N, 1, -1)
    both = torch.cat([theta.view(N, 2, 3), bottom], 1) @ other
    grid = predicted(both[:, :2].flatten(1), canvas, AffineGrid)
    clean = predicted(other[:2].flatten().expand(N, -1), canvas, AffineGrid)
    errors = errors_of(one, grid, clean)
    for values in (errors.degrees, errors.log2_scale, errors.shift_px, errors.squared_px.sqrt()):
        assert float(values.max()) < 1e-3


@pytest.mark.parametrize("own", ["P", "P:xy"])
def test_the_exact_inverse_of_moved_corners_leaves_nothing(own: str) -> None:
    one = case(own, f"{own}@0.5")
    canvas = one.distorted.cell.canvas
    half = canvas / 2 if own == "P" else 14
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float) * half
    thetas = []
    for row in one.drawn:
        moved = row[0] * square + row[1:].reshape(4, 2)
        thetas.append(homography_of(square / (canvas / 2), moved / (canvas / 2)))
    grid = predicted(torch.tensor(np.array(thetas)), canvas, ProjectiveGrid)
    clean = predicted(torch.eye(3).flatten()[:8].expand(N, -1), canvas, ProjectiveGrid)
    errors = errors_of(one, grid, clean)
    assert float(errors.squared_px.max().sqrt()) < 1e-3
    assert float(found(one.test.identity_errors(0, N)).squared_px.mean().sqrt()) > 1


def homography_of(source: Array, target: Array) -> Array:
    """The 8 numbers of the homography through four pairs, by the direct linear system."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solved: Array = np.linalg.solve(np.array(rows), np.array(values))
    return solved


@pytest.mark.parametrize("asked", ["R", "RTS", "R@0.5", "RTS@1.5", "RTS@0"])
@pytest.mark.parametrize("own", ["R", "RTS", "P"])
def test_the_identity_leaves_what_was_drawn(own: str, asked: str) -> None:
    one = case(own, asked)
    errors = found(one.test.identity_errors(0, N))
    angle, scale, x, y = one.drawn.T
    np.testing.assert_allclose(errors.degrees, np.abs(angle), atol=1e-4)
    np.testing.assert_allclose(errors.log2_scale, np.abs(np.log2(scale)), atol=1e-5)
    np.testing.assert_allclose(errors.shift_px, np.hypot(x, y), atol=1e-4)
    pose = one.test.mean([errors])
    assert pose.degrees == pytest.approx(np.abs(angle).mean(), abs=1e-4)
    assert pose.columns("identity")["identity_shift_px"] == pose.shift_px


def test_the_identity_leaves_of_an_elastic_distortion_its_displacements() -> None:
    one = case("E")
    line = np.linspace(-14, 14, 4)
    control = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    points = POINTS_OF_28 * 14
    moves = [
        RBFInterpolator(control, row.reshape(16, 2), kernel="thin_plate_spline")(points)
        for row in one.drawn
    ]
    errors = found(one.test.identity_errors(0, N))
    np.testing.assert_allclose(errors.squared_px, np.square(moves).sum(2).mean(1), rtol=1e-4)
    pose = one.test.mean([errors])
    assert (pose.degrees, pose.log2_scale, pose.shift_px) == (None, None, None)
    assert pose.residual_px == pytest.approx(np.sqrt(np.square(moves).sum(2).mean()), rel=1e-4)


@pytest.mark.parametrize("make", [AffineGrid, ProjectiveGrid, ThinPlateSplineGrid])
def test_a_wrong_guess_leaves_what_a_general_minimiser_finds(
    make: Callable[..., GridGenerator],
) -> None:
    one = case("RTS")
    identity = make((42, 42)).identity
    noise = torch.randn(2, N, len(identity), generator=torch.manual_seed(0)) * 0.02
    grids = [predicted(identity + part, 42, make) for part in noise]
    errors = errors_of(one, grids[0], grids[1])
    points = output_points((42, 42), CPU).numpy() * 21
    for number in (0, 7, 31):
        a = source(one.drawn[number], grids[0][number])
        clean = source(np.array([0.0, 1, 0, 0]), grids[1][number])
        basis = np.column_stack([points, np.ones(256)])
        affine = np.linalg.lstsq(basis, clean, rcond=None)[0]
        mapped = np.linalg.solve(affine[:2].T, (a - affine[2]).T).T
        angle, log2_scale, x, y = least_squares(distance(points, mapped), [0, 0, 0, 0]).x
        assert float(errors.degrees[number]) == pytest.approx(abs(np.rad2deg(angle)), abs=1e-3)
        assert float(errors.log2_scale[number]) == pytest.approx(abs(log2_scale), abs=1e-4)
        shift = np.hypot(x, y) / 2**log2_scale
        assert float(errors.shift_px[number]) == pytest.approx(shift, abs=1e-3)
        assert procrustes(points, mapped)[2] < 0.05  # a similarity explains nearly all of it


def source(row: Array, grid: Tensor) -> Array:
    """Where 16x16 points of the output are read, px from the image's centre."""
    centres = (np.arange(42) * 2 + 1) / 42 - 1
    reader = RegularGridInterpolator((centres, centres), grid.double().numpy())
    read = reader(output_points((42, 42), CPU).numpy()[:, ::-1]) * 21
    forward = forward_matrix(row, 2)
    points: Array = np.linalg.solve(forward[:, :2], (read - forward[:, 2]).T).T
    return points


def distance(points: Array, mapped: Array) -> Callable[[Array], Array]:
    def residual(pose: Array) -> Array:
        cos, sin = np.cos(pose[0]) * 2 ** pose[1], np.sin(pose[0]) * 2 ** pose[1]
        turned = points @ np.array([[cos, -sin], [sin, cos]]).T + pose[2:]
        return np.asarray(turned - mapped).ravel()

    return residual


def test_an_image_of_which_one_point_is_read_has_no_pose() -> None:
    one = case("RTS")
    still = predicted(torch.zeros(N, 6), 42, AffineGrid)
    pose = one.test.mean([errors_of(one, still, still)])
    assert set(pose.columns("pose").values()) == {None}
    assert set(mean_pose([], has_similarity=True).columns("pose").values()) == {None}


def test_later_batches_are_compared_with_their_own_parameters() -> None:
    one = case("RTS")
    whole = found(one.test.identity_errors(0, N))
    parts = [found(one.test.identity_errors(first, 10)) for first in range(0, N, 10)]
    for all_of_it, *batches in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat(batches), all_of_it)
    mean = one.test.mean(parts).columns("pose")
    assert mean == pytest.approx(one.test.mean([whole]).columns("pose"))


@pytest.mark.parametrize("size", [(1, 3), (7, 20), (28, 28), (128, 64)])
def test_points_of_an_output_are_pixels_over_all_of_it(size: tuple[int, int]) -> None:
    points = output_points(size, CPU)
    for axis, edge in ((0, size[1]), (1, size[0])):
        values = points[:, axis].unique()
        assert len(values) == min(16, edge)
        assert float(values.max()) == pytest.approx(1 - 1 / edge if edge > 1 else 0)
        assert float(values.min()) == pytest.approx(-float(values.max()))
