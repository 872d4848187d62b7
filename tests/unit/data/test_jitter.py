"""The elastic jitter of training images: composed with the distortion, in one reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from stn_cluster import register_distortion
from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.data.distorted_images import distorted_test_set
from stn_cluster.data.distortions import GridDistortion
from stn_cluster.data.jitter import ElasticJitter
from stn_cluster.data.stream import (
    BLOCK,
    Stream,
    generator,
    make_distortion,
    training_distortion,
)
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.stn import pixel_centres

every_distortion = pytest.mark.parametrize("distortion", ["R", "RTS", "P", "E", "E:42", "R:42"])


def cell_of(distortion: str, image_jitter: float = 0.7) -> Cell:
    recipe = {"name": "smoke", "image_jitter": image_jitter}
    fields = {"models": ["FCN"], "distortions": [distortion], "recipe": recipe}
    [cell] = resolve(parse_config(fields))
    return cell


def parts(cell: Cell, n: int = 40) -> tuple[ElasticJitter, GridDistortion, Tensor, Tensor]:
    """Both distortions, the base's parameters and the moves of the jitter."""
    jittered, base = training_distortion(cell), make_distortion(cell)
    assert isinstance(jittered, ElasticJitter)
    assert isinstance(base, GridDistortion)
    drawn = torch.from_numpy(jittered.draw(generator("a test", n), n))
    return jittered, base, drawn[:, :-32], drawn[:, -32:]


def smooth_images(n: int) -> Tensor:
    noise = torch.rand(n, 1, 28, 28, generator=torch.manual_seed(1))
    return torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3)


@every_distortion
def test_without_moves_it_is_the_distortion_alone(distortion: str) -> None:
    jittered, base, parameters, moves = parts(cell_of(distortion))
    still = torch.cat([parameters, torch.zeros_like(moves)], dim=1)
    images = smooth_images(len(still))
    found, expected = jittered.apply(images, still), base.apply(images, parameters)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@every_distortion
def test_it_reads_where_the_distortion_takes_the_splines_points(distortion: str) -> None:
    """Against scipy's spline, and its own interpolation of the distortion's grid."""
    jittered, base, parameters, moves = parts(cell_of(distortion), n=3)
    canvas = base.canvas
    ticks = np.linspace(-1, 1, 4)
    control = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    centres = pixel_centres((canvas, canvas)).numpy()
    found = jittered.grid(torch.cat([parameters, moves], 1))
    for grid, own, move in zip(base.grid(parameters), found, moves.double(), strict=True):
        targets = control + move.view(16, 2).numpy() * 2 / canvas
        points = RBFInterpolator(control, targets, kernel="thin_plate_spline", degree=1)(centres)
        points = points.clip(-1 + 1 / canvas, 1 - 1 / canvas)  # as far as there are pixels
        columns, rows = ((points + 1) * canvas - 1).T / 2
        expected = bilinear(grid.double().numpy(), columns, rows)
        np.testing.assert_allclose(own.view(-1, 2).numpy(), expected, atol=2e-4)


def bilinear(values: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(H, W, 2) at fractional columns and rows (K,) -> (K, 2)."""
    last = len(values) - 1
    left, top = (np.minimum(x.astype(int), last - 1) for x in (columns, rows))
    right, down = (columns - left)[:, None], (rows - top)[:, None]
    above = values[top, left] * (1 - right) + values[top, left + 1] * right
    below = values[top + 1, left] * (1 - right) + values[top + 1, left + 1] * right
    return above * (1 - down) + below * down


@every_distortion
def test_the_draws_are_the_distortions_and_moves_of_that_size(distortion: str) -> None:
    jittered, base, parameters, moves = parts(cell_of(distortion, 0.7), n=4000)
    assert np.array_equal(parameters, base.draw(generator("a test", 4000), 4000))
    assert float(moves.std()) == pytest.approx(0.7, rel=0.01)
    assert float(moves.mean()) == pytest.approx(0, abs=0.01)
    assert jittered.canvas == base.canvas


def test_another_jitter_is_another_stream_and_none_leaves_it_as_it_was() -> None:
    mild, strong, none = (cell_of("R", sigma) for sigma in (0.5, 0.8, 0.0))
    assert len({cell.stream for cell in (mild, strong, none)}) == 3
    assert "image_jitter" not in none.settings
    assert none.stream == ("digits", "R", "plain", 28, 0, 16)
    assert mild.stream == (*none.stream, "image_jitter=0.5")
    assert training_distortion(none) == make_distortion(none)
    one, other = (
        Stream(cell.stream, training_distortion(cell), 101, 16).block(0) for cell in (mild, strong)
    )
    assert not torch.equal(one.parameters, other.parameters)
    assert one.parameters.shape == (BLOCK, 16, 4 + 32)


def test_the_test_set_is_never_jittered(data: DataCache) -> None:
    dataset = data.dataset(cell_of("E"))
    jittered, plain = (
        distorted_test_set(cell_of("E", sigma), dataset, data.device)[0] for sigma in (0.8, 0.0)
    )
    assert torch.equal(jittered, plain)


@pytest.mark.usefixtures("registered")
def test_a_distortion_that_has_no_grid_is_refused() -> None:
    class Blur:
        canvas = 28

        def draw(self, rng: np.random.Generator, n: int) -> object:
            return rng.random((n, 1)).astype(np.float32)

        def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
            return images * parameters.view(-1, 1, 1, 1)

    @register_distortion("blur")
    def blur(variant: str, canvas: int) -> Blur:
        return Blur()

    assert not hasattr(training_distortion(cell_of("blur", 0.0)), "grid")
    with pytest.raises(UserError, match="image_jitter: distortion 'blur' has no `grid`"):
        training_distortion(cell_of("blur"))
