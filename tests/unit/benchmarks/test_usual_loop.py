"""The loop that we compare ourselves with does the same arithmetic as ours."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from usual_loop import TRANSFORMS, DistortedDigits, train_usually, usual_model

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.training.building import build_model


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def grid(**fields: Any) -> list[Cell]:
    return resolve(parse_config({"distortions": ["R", "RTS"], **fields}))


@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_its_models_give_what_ours_give_with_the_same_parameters(recipe: str) -> None:
    for cell in grid(recipe=recipe):
        settings = Recipe.model_validate(cell.settings)
        ours, usual = build_model(cell, settings, 10), usual_model(cell)
        with torch.no_grad():
            for mine, theirs in zip(ours.parameters(), usual.parameters(), strict=True):
                mine += 0.01 * torch.randn_like(mine)  # away from the identity
                theirs.copy_(mine)
        images = torch.rand(4, 1, cell.canvas, cell.canvas)
        torch.testing.assert_close(ours(images), usual(images), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("distortion", sorted(TRANSFORMS))
def test_its_images_look_like_ours(digits: Dataset, distortion: str) -> None:
    """Not image by image, as the draws differ: the mean image and how much ink there is."""
    [cell, *_] = grid(models=["FCN"], recipe="fast", distortions=[distortion])
    feed = DataCache(None, torch.device("cpu")).loader(cell)
    ours = torch.cat([feed.batch(step)[0] for step in range(9)])
    random.seed(0)
    torch.manual_seed(0)
    data = DistortedDigits(digits.train_images, digits.train_labels, distortion)
    theirs = torch.stack([data[i][0] for i in range(0, len(data), 2)])
    assert ours.shape[1:] == theirs.shape[1:]
    assert float(theirs.mean()) == pytest.approx(float(ours.mean()), rel=0.05)
    assert float((ours.mean(0) - theirs.mean(0)).abs().mean()) < 0.02


def test_it_learns(digits: Dataset) -> None:
    [cell] = grid(
        models=["FCN"],
        distortions=["R"],
        recipe={"name": "fast", "iterations": 120, "evaluate_every": None},
    )
    came = train_usually(cell, digits, num_workers=0)
    assert came.error < 50
    assert came.step_seconds > 0
    assert came.evaluation_seconds > 0
    untested = train_usually(cell, digits, num_workers=0, evaluate=False)
    assert math.isnan(untested.error)
