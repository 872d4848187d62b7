"""Source positions of any points, against the grids that images are distorted with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator, RegularGridInterpolator

from stn_cluster.data.distortions import Distortion, GridDistortion, Spline
from stn_cluster.data.source_points import read_grid, source_points
from stn_cluster.registry import lookup
from stn_cluster.stn.grids import pixel_centres

NAMES = (("R", "plain"), ("RTS", "plain"), ("P", "xy"), ("P", "xy-enlarged"), ("E", "plain"))


@pytest.mark.parametrize(("name", "variant"), [*NAMES, ("clean", "plain")])
@pytest.mark.parametrize("canvas", [28, 33, 42])
def test_centres_of_pixels_are_read_where_the_grid_says(
    name: str, variant: str, canvas: int
) -> None:
    distortion = lookup("distortion", name).load()(variant, canvas)
    assert isinstance(distortion, GridDistortion)
    drawn = torch.from_numpy(distortion.draw(np.random.default_rng(1), 20) * np.float32(0.5))
    drawn[:, :2] = torch.from_numpy(distortion.draw(np.random.default_rng(2), 20))[:, :2]
    points = pixel_centres((canvas, canvas)).expand(20, -1, -1)
    found = source_points(distortion, drawn, points)
    assert found is not None
    wanted = distortion.grid(drawn).reshape(20, -1, 2).double()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_spline_is_followed_between_and_beyond_pixels() -> None:
    spline = Spline(canvas=42)
    drawn = torch.from_numpy(spline.draw(np.random.default_rng(0), 1))
    points = torch.rand(1, 50, 2, generator=torch.manual_seed(0), dtype=torch.float64) * 3 - 1.5
    line = np.linspace(-14, 14, 4)
    control = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    moved = control + drawn.numpy().reshape(16, 2)
    wanted = RBFInterpolator(control, moved, kernel="thin_plate_spline")(points[0].numpy() * 21)
    found = source_points(spline, drawn, points)
    assert found is not None
    np.testing.assert_allclose(found[0].numpy() * 14, wanted, atol=1e-4)


def test_a_grid_is_read_between_and_beyond_its_points() -> None:
    grid = torch.rand(3, 5, 7, 2, generator=torch.manual_seed(1))
    points = torch.rand(3, 40, 2, generator=torch.manual_seed(2), dtype=torch.float64) * 2.4 - 1.2
    rows, columns = (np.arange(5) * 2 + 1) / 5 - 1, (np.arange(7) * 2 + 1) / 7 - 1
    for one, own, found in zip(grid, points, read_grid(grid, points), strict=True):
        reader = RegularGridInterpolator(
            (rows, columns), one.double().numpy(), bounds_error=False, fill_value=None
        )
        np.testing.assert_allclose(found.numpy(), reader(own.numpy()[:, ::-1]), atol=1e-12)


def test_a_distortion_without_a_grid_has_none() -> None:
    class Own:
        canvas = 28

        def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
            return rng.random((n, 1))

        def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
            return images

    own: Distortion = Own()
    assert source_points(own, torch.zeros(2, 1), torch.zeros(2, 3, 2)) is None
