"""Distortions of plug-ins: checked, cast, isolated, and a function of their names alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.packs import arithmetic, make_cells, train
from torch import Tensor, nn

from stn_cluster import register_distortion
from stn_cluster.data import distorted_images
from stn_cluster.data.cache import DataCache
from stn_cluster.data.stream import BLOCK, make_distortion
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell


@pytest.fixture
def data() -> DataCache:
    """No test set of another test, whose distortion has the same name and source file."""
    return DataCache(None, torch.device("cpu"))


class Own:
    """A plug-in's distortion: multiplies by a factor."""

    canvas: Any = 28

    def draw(self, rng: np.random.Generator, n: int) -> Any:
        return rng.uniform(0.5, 1, (n, 1))  # float64

    def apply(self, images: Tensor, parameters: Tensor) -> Any:
        return images * parameters[:, :, None, None]


def cell_of(make: Callable[[str, int], object], models: tuple[str, ...] = ("FCN",)) -> Cell:
    register_distortion("N")(make)
    return make_cells(models=models, distortions=["N"])[0]


def changed(**methods: Any) -> Callable[[str, int], object]:
    return lambda variant, canvas: type("Changed", (Own,), methods)()


def test_what_holds_the_same_numbers_in_another_type_is_cast(data: DataCache) -> None:
    expected = arithmetic(train([cell_of(changed())], data)[cell_of(changed()).key])
    for kinds in ({"apply": torch.double}, {"draw": torch.double}):
        methods = {
            name: lambda self, *args, name=name, to=to: torch.as_tensor(
                getattr(Own, name)(self, *args)
            ).to(to)
            for name, to in kinds.items()
        }
        cell = cell_of(changed(**methods))
        data = DataCache(None, data.device)
        assert arithmetic(train([cell], data)[cell.key]) == expected


WRONG = {
    "another size": (
        {"apply": lambda self, images, p: images[..., :20, :20]},
        r"gave float32 \(\d+, 1, 20, 20\) on cpu; expected .* \(\d+, 1, 28, 28\)",
    ),
    "no channel": (
        {"apply": lambda self, images, p: images[:, 0]},
        r"gave float32 \(\d+, 28, 28\)",
    ),
    "fewer": ({"apply": lambda self, images, p: images[1:]}, r"gave float32 .*; expected"),
    "bytes": ({"apply": lambda self, images, p: (images * 255).byte()}, "gave uint8"),
    "an array": ({"apply": lambda self, images, p: images.numpy()}, "gave an array of float32"),
    "nothing": ({"apply": lambda self, images, p: None}, "gave NoneType"),
    "0 to 255": ({"apply": lambda self, images, p: images * 255}, "values from 0 to 255; exp"),
    "negative": ({"apply": lambda self, images, p: images - 0.5}, "values from -0.5 to 0.5; exp"),
    "not a number": ({"apply": lambda self, images, p: images * float("nan")}, "from nan to nan"),
    "too few draws": ({"draw": lambda self, rng, n: rng.random((n - 1, 2))}, r"draws an array .*P"),
    "flat draws": ({"draw": lambda self, rng, n: rng.random(n)}, r"draws an array of float64"),
    "a list of draws": ({"draw": lambda self, rng, n: [[1.0]] * n}, "draws list of"),
    "infinite draws": ({"draw": lambda self, rng, n: np.full((n, 1), np.inf)}, "not finite"),
    "another canvas": ({"canvas": 30}, "has a canvas of 30 pixels; the config asks for 28"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_distortion_that_gives_something_else_is_refused_by_name(
    case: str, data: DataCache
) -> None:
    methods, told = WRONG[case]
    cell = cell_of(changed(**methods))
    fcn = make_cells(models=["FCN"])[0]
    outcomes = train([cell, fcn], data)
    error = outcomes[cell.key].error
    assert error is not None
    assert error.startswith("UserError: distortion 'N' ")
    assert len(error.splitlines()) == 1
    with pytest.raises(UserError, match=told):
        raise UserError(error)
    assert arithmetic(outcomes[fcn.key]) == arithmetic(train([fcn], data)[fcn.key])


def test_what_is_no_distortion_is_refused_with_what_is_missing() -> None:
    with pytest.raises(UserError, match="gave list, which has no canvas and no draw and no apply"):
        make_distortion(cell_of(lambda variant, canvas: []))


def test_an_array_that_every_draw_reuses_changes_no_other_block(data: DataCache) -> None:
    shared = np.zeros((BLOCK * 16, 1), np.float32)

    def draw(self: object, rng: np.random.Generator, n: int) -> Any:
        if n != len(shared):
            return Own.draw(Own(), rng, n)
        shared[:] = rng.uniform(0.5, 1, (n, 1))
        return shared

    loader = data.loader(cell_of(changed(draw=draw)))
    before, _ = loader.batch(0)
    data.loader(cell_of(changed(draw=draw)).model_copy(update={"seed": 5})).batch(0)
    assert torch.equal(loader.batch(0)[0], before)


NOISES: dict[str, Callable[[Tensor], Tensor]] = {
    "torch": lambda images: torch.rand_like(images),
    "NumPy": lambda images: torch.from_numpy(np.random.rand(*images.shape)),
}


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_a_function_of_stream_and_step(noise: str, data: DataCache) -> None:
    def apply(self: object, images: Tensor, parameters: Tensor) -> Tensor:
        return images / 2 + NOISES[noise](images) / 2

    cell = cell_of(changed(apply=apply))
    loader = data.loader(cell)
    third, tests = loader.batch(3)[0], data.test(cell).images.whole()
    assert loader.draws
    torch.rand(5), np.random.rand(5)
    again = DataCache(None, data.device)
    assert torch.equal(again.loader(cell).batch(3)[0], third)
    assert torch.equal(again.test(cell).images.whole(), tests)
    assert not torch.equal(loader.batch(4)[0], third)


def test_a_distortion_that_changes_settings_fails_all_its_cells_and_no_others(
    data: DataCache,
) -> None:
    def apply(self: object, images: Tensor, parameters: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return images

    cell, fcn = cell_of(changed(apply=apply)), make_cells(models=["FCN"])[0]
    outcomes = train([cell, fcn], data)
    assert torch.get_default_dtype() == torch.float32
    told = "distortion 'N' changed torch's default dtype from torch.float32 to torch.float64"
    assert told in str(outcomes[cell.key].error)
    assert arithmetic(outcomes[fcn.key]) == arithmetic(train([fcn], data)[fcn.key])


def test_a_tensor_that_every_call_reuses_holds_no_images_of_another_call(
    data: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distorted_images, "TEST_BATCH", 600)  # several of one size in the test set
    kept: dict[int, Tensor] = {}

    def apply(self: object, images: Tensor, parameters: Tensor) -> Tensor:
        made = Own.apply(Own(), images, parameters)
        return kept.setdefault(len(images), torch.empty_like(made)).copy_(made)

    expected = data.test(cell_of(changed())).images.whole()
    fresh = DataCache(None, data.device)
    assert torch.equal(fresh.test(cell_of(changed(apply=apply))).images.whole(), expected)


def in_inference_mode(images: Tensor) -> Tensor:
    with torch.inference_mode():
        return images * 1


def with_a_gradient(images: Tensor) -> Tensor:
    with torch.enable_grad():
        return images * torch.ones(1, requires_grad=True)


@pytest.mark.parametrize("made", [in_inference_mode, with_a_gradient, nn.Parameter])
def test_images_are_plain_tensors_whatever_they_were(
    made: Callable[[Tensor], Tensor], data: DataCache
) -> None:
    def apply(self: object, images: Tensor, parameters: Tensor) -> Tensor:
        return made(Own.apply(Own(), images, parameters))

    plain = cell_of(changed())
    expected = arithmetic(train([plain], data)[plain.key])
    cells = [cell_of(changed(apply=apply), (model,)) for model in ("FCN", "CNN")]
    outcomes = train(cells, DataCache(None, data.device))
    assert arithmetic(outcomes[cells[0].key]) == expected
    assert outcomes[cells[1].key].error is None


def counting(variant: str, canvas: int) -> object:
    calls = itertools.count(1)
    return changed(apply=lambda self, images, p: images / (1 + next(calls)))(variant, canvas)


def counting_draws(variant: str, canvas: int) -> object:
    calls = itertools.count(1)
    return changed(draw=lambda self, rng, n: np.full((n, 1), 1 / next(calls)))(variant, canvas)


def own_generator(variant: str, canvas: int) -> object:
    own = np.random.default_rng(0)
    return changed(draw=lambda self, rng, n: own.random((n, 1)))(variant, canvas)


@pytest.mark.parametrize("make", [counting, counting_draws, own_generator])
def test_a_distortion_that_depends_on_its_earlier_calls_is_refused(
    make: Callable[[str, int], object], data: DataCache
) -> None:
    """An interrupted cell would go on with other batches."""
    cell, fcn = cell_of(make), make_cells(models=["FCN"])[0]
    outcomes = train([cell, fcn], data)
    told = "UserError: distortion 'N' gave other (images|draws) when it was called again"
    assert re.match(told, str(outcomes[cell.key].error))
    assert arithmetic(outcomes[fcn.key]) == arithmetic(train([fcn], data)[fcn.key])
