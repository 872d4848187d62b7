"""Grid generators against independent implementations, in float64."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator
from torch import Tensor, nn

from stn_cluster.stn import AffineGrid, GridGenerator, ProjectiveGrid, ThinPlateSplineGrid
from stn_cluster.stn.grids import HORIZON, pixel_centres


def spline_3x5(size: tuple[int, int]) -> ThinPlateSplineGrid:
    return ThinPlateSplineGrid(size, (3, 5), span=0.8)


GENERATORS = (AffineGrid, ProjectiveGrid, ThinPlateSplineGrid, spline_3x5)
SIZES = ((28, 28), (1, 1), (7, 12), (21, 4))
SOLVERS = ("inv", "solve", "lstsq", "pinv", "lu_factor", "cholesky")
Make = Callable[[tuple[int, int]], GridGenerator]
every_generator = pytest.mark.parametrize("make", GENERATORS)
every_size = pytest.mark.parametrize("size", SIZES)


def thetas(generator: GridGenerator, n: int, spread: float = 0.3) -> Tensor:
    """n random parameters around the identity."""
    shape = (n, generator.n_parameters)
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    return generator.identity.double() + spread * noise


def centres_in_numpy(size: tuple[int, int]) -> np.ndarray:
    """(H, W, 2): -1 and 1 are the outer edges of the first and the last pixel."""
    height, width = size
    grid = np.empty((height, width, 2))
    for i in range(height):
        for j in range(width):
            grid[i, j] = 2 * (j + 0.5) / width - 1, 2 * (i + 0.5) / height - 1
    return grid


@every_size
def test_pixel_centres_are_xy_row_by_row_with_the_edges_at_plus_and_minus_one(
    size: tuple[int, int],
) -> None:
    expected = torch.from_numpy(centres_in_numpy(size)).view(-1, 2)
    torch.testing.assert_close(pixel_centres(size), expected, atol=1e-15, rtol=0)
    assert pixel_centres(size, torch.float32).dtype == torch.float32


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 3)])
def test_an_empty_grid_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"not {size[0]}x{size[1]}"):
        pixel_centres(size)


@every_size
def test_affine_agrees_with_pytorchs_affine_grid(size: tuple[int, int]) -> None:
    generator = AffineGrid(size).double()
    theta = thetas(generator, 5, spread=1.0)
    expected = F.affine_grid(theta.view(-1, 2, 3), [5, 1, *size], align_corners=False)
    torch.testing.assert_close(generator(theta), expected, atol=1e-12, rtol=0)


@every_size
@pytest.mark.parametrize("spread", [0.2, 2.0])  # with 2.0 the horizon crosses the image
def test_projective_agrees_with_a_division_point_by_point(
    size: tuple[int, int], spread: float
) -> None:
    generator = ProjectiveGrid(size).double()
    theta = thetas(generator, 6, spread)
    found = generator(theta).numpy()
    denominators = []
    for n, row in enumerate(theta.numpy()):
        a, b, c, d, e, f, g, h = row
        for (i, j), (x, y) in zip(
            np.ndindex(size), centres_in_numpy(size).reshape(-1, 2), strict=True
        ):
            scale = g * x + h * y + 1
            denominators.append(scale)
            if abs(scale) >= HORIZON:
                expected = ((a * x + b * y + c) / scale, (d * x + e * y + f) / scale)
                np.testing.assert_allclose(found[n, i, j], expected, rtol=1e-12, atol=1e-12)
    if spread == 2.0 and size != (1, 1):
        assert min(denominators) < 0 < max(denominators)


def test_projective_takes_four_points_where_a_solved_homography_does() -> None:
    generator = ProjectiveGrid((5, 9)).double()
    grid = centres_in_numpy((5, 9))
    source = np.array([grid[0, 0], grid[0, -1], grid[-1, -1], grid[-1, 0]])
    target = np.array([[-0.9, -0.7], [0.6, -1.1], [1.2, 0.8], [-0.5, 0.9]])
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    theta = torch.from_numpy(np.linalg.solve(np.array(rows), np.array(values)))[None]
    found = generator(theta)[0, [0, 0, -1, -1], [0, -1, -1, 0]]
    torch.testing.assert_close(found, torch.from_numpy(target), atol=1e-12, rtol=0)


@every_size
@pytest.mark.parametrize("span", [1.0, 0.6, 1.5])
@pytest.mark.parametrize("control", [(4, 4), (2, 2), (3, 5), (6, 2)])
def test_spline_agrees_with_scipys_thin_plate_interpolator(
    size: tuple[int, int], control: tuple[int, int], span: float
) -> None:
    generator = ThinPlateSplineGrid(size, control, span).double()
    theta = thetas(generator, 3)
    rows, columns = (np.linspace(-span, span, k) for k in control)
    where = np.array([(x, y) for y in rows for x in columns])
    centres = centres_in_numpy(size).reshape(-1, 2)
    for found, row in zip(generator(theta), theta, strict=True):
        goes_to = row.view(-1, 2).numpy()
        spline = RBFInterpolator(where, goes_to, kernel="thin_plate_spline", degree=1)
        np.testing.assert_allclose(found.reshape(-1, 2).numpy(), spline(centres), atol=1e-10)


@pytest.mark.parametrize(("size", "first", "every"), [((4, 4), 0, 1), ((12, 12), 1, 3)])
def test_spline_passes_through_its_control_points(
    size: tuple[int, int], first: int, every: int
) -> None:
    generator = ThinPlateSplineGrid(size, span=0.75).double()  # they lie on pixel centres
    theta = thetas(generator, 4, spread=1.0)
    found = generator(theta)[:, first::every, first::every]
    torch.testing.assert_close(found, theta.view(4, 4, 4, 2), atol=1e-11, rtol=0)


@pytest.mark.parametrize("control", [(4, 4), (2, 3)])
def test_spline_is_affine_where_its_control_points_move_affinely(control: tuple[int, int]) -> None:
    size = (11, 6)
    spline, affine = ThinPlateSplineGrid(size, control).double(), AffineGrid(size).double()
    matrix = thetas(affine, 3, spread=1.0)
    parts = matrix.view(3, 2, 3)
    moved = spline.identity.view(-1, 2) @ parts[..., :2].transpose(1, 2) + parts[:, None, :, 2]
    found = spline(moved.reshape(3, -1))
    torch.testing.assert_close(found, affine(matrix), atol=1e-12, rtol=0)


@every_generator
@every_size
def test_the_identity_is_exact_in_every_precision(make: Make, size: tuple[int, int]) -> None:
    exact = torch.from_numpy(centres_in_numpy(size))
    generator = make(size)
    identity = generator(generator.identity[None])[0]
    pytorchs = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *size], align_corners=False)[0]
    assert identity.dtype == torch.float32
    assert (identity - exact).abs().max() <= (pytorchs - exact).abs().max()
    generator = generator.double()
    torch.testing.assert_close(generator(generator.identity[None])[0], exact, atol=1e-15, rtol=0)


@every_generator
def test_double_brings_full_precision_back_also_inside_a_network(make: Make) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        born_double = make((7, 12))
    finally:
        torch.set_default_dtype(torch.float32)
    theta = thetas(born_double, 3)
    expected = born_double(theta)
    network = nn.Sequential(make((7, 12)))
    for generator in (network.double(), network.half().to(torch.float64)):
        torch.testing.assert_close(generator(theta), expected, atol=1e-14, rtol=0)
    assert (make((7, 12))(theta.float()) - expected).abs().max() > 1e-9  # so it says something


@every_generator
def test_constants_stay_out_of_the_state_dict(make: Make) -> None:
    assert not make((4, 6)).state_dict()


@every_generator
def test_parameters_of_a_wrong_shape_are_refused(make: Make) -> None:
    generator = make((4, 6))
    count = generator.n_parameters
    for shape in [(count,), (2, count + 1), (2, count - 1), (1, 2, count)]:
        with pytest.raises(ValueError, match=rf"\(N, {count}\), not \({shape[0]},"):
            generator(torch.zeros(shape))


@pytest.mark.parametrize("control", [(1, 4), (4, 1), (0, 0)])
def test_a_spline_needs_control_points_both_ways(control: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"not {control[0]}x{control[1]}"):
        ThinPlateSplineGrid((8, 8), control)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("g_h", [(-4.0, 0.0), (0.0, 4.0), (2.0, 2.0), (-4 / 3, 0.0), (1e6, 1.0)])
def test_a_horizon_through_pixel_centres_gives_finite_grids_and_gradients(
    g_h: tuple[float, float], dtype: torch.dtype
) -> None:
    generator = ProjectiveGrid((4, 4)).to(dtype)  # centres at +-0.25 and +-0.75
    theta = torch.tensor([[1, 0.1, 0.2, -0.1, 1, 0.3, *g_h]], dtype=dtype, requires_grad=True)
    denominators = pixel_centres((4, 4), dtype) @ torch.tensor(g_h, dtype=dtype) + 1
    assert g_h[0] == 1e6 or denominators.abs().min() < 1e-6
    grid = generator(theta)
    grid.sum().backward()
    assert theta.grad is not None
    assert grid.isfinite().all()
    assert theta.grad.isfinite().all()
    assert theta.grad.abs().max() > 0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_denominator_near_zero_is_held_off_it_on_its_own_side(side: float) -> None:
    generator = ProjectiveGrid((1, 4)).double()
    near = torch.tensor([[1, 0, 0.5, 0, 1, 0.25, -4 + side * HORIZON, 0]], dtype=torch.float64)
    found = generator(near)[0, 0, 2]  # x = 0.25: the denominator is side * HORIZON / 4
    torch.testing.assert_close(found, torch.tensor([0.75, 0.25]).double() / (side * HORIZON))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=8, max_size=8))
def test_projective_grids_are_finite_whatever_theta(theta: list[float]) -> None:
    parameters = torch.tensor([theta], requires_grad=True)
    grid = ProjectiveGrid((5, 4))(parameters)
    grid.sum().backward()
    assert parameters.grad is not None
    assert grid.isfinite().all()
    assert parameters.grad.isfinite().all()


@every_generator
def test_gradients_agree_with_finite_differences(make: Make) -> None:
    generator = make((3, 4)).double()
    theta = thetas(generator, 2, spread=0.1).requires_grad_()
    assert torch.autograd.gradcheck(generator, (theta,))


def test_the_splines_system_is_inverted_once_and_never_per_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solvers = [Mock(wraps=getattr(torch.linalg, name)) for name in SOLVERS]
    for name, solver in zip(SOLVERS, solvers, strict=True):
        monkeypatch.setattr(torch.linalg, name, solver)
    generator = ThinPlateSplineGrid((8, 8))
    assert sum(solver.call_count for solver in solvers) == 1
    for _ in range(3):
        generator(thetas(generator, 2).float())
    generator.double()(thetas(generator, 2))
    assert sum(solver.call_count for solver in solvers) == 1
