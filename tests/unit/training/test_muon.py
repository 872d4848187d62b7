"""Muon: momentum whose singular values are made about 1, for inner convolutions alone."""

from __future__ import annotations

import pytest
import torch
from support.packs import make_cells
from torch import Tensor, nn

from stn_cluster.recipes import Recipe
from stn_cluster.stn import SpatialTransformer
from stn_cluster.training.building import build_model
from stn_cluster.training.muon import MOMENTUM, muon_update, orthogonalised
from stn_cluster.training.optimizers import Group, Muon, Optimizer, make_optimizer


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(32, 300), (300, 32), (20, 20)])
def test_singular_values_come_to_about_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    found = orthogonalised(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ found @ right.T
    assert torch.allclose(rotated, rotated.diagonal().diag(), atol=1e-9)
    large = values > 0.05 * values.norm()
    assert bool(((rotated.diagonal()[large] - 0.95).abs() < 0.3).all())
    assert torch.allclose(orthogonalised(10 * matrix), found, atol=1e-5)


def test_an_update_is_nesterovs_momentum_made_orthogonal_with_decay_apart() -> None:
    weight = nn.Parameter(random(6, 5, 3, 3))
    group = Group([weight], Muon(), lr_factor=2.0, weight_decay=0.1)
    optimizer = Optimizer([group])
    expected, mean = weight.detach().clone(), torch.zeros(6, 45, dtype=torch.float64)
    for step in range(3):
        gradient = random(6, 5, 3, 3, seed=step)
        optimizer.set_lr(0.25)
        weight.grad.copy_(gradient)  # type: ignore[union-attr]
        optimizer.step()
        mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient.view(6, 45)
        ahead = MOMENTUM * mean + (1 - MOMENTUM) * gradient.view(6, 45)
        expected = expected * (1 - 0.5 * 0.1) - 0.5 * orthogonalised(ahead).view_as(expected)
        torch.testing.assert_close(weight.detach(), expected)


def test_a_tall_weight_takes_a_longer_step() -> None:
    gradient = random(64, 4, 2, 2)
    step = muon_update(gradient, torch.zeros_like(gradient))
    torch.testing.assert_close(step.flatten(1), 2 * orthogonalised(gradient.flatten(1)))


@pytest.mark.parametrize("model", ["CNN", "ST-CNN", "FCN", "ST-FCN"])
def test_it_trains_the_cnns_second_convolution_alone(model: str) -> None:
    transform = "affine" if model.startswith("ST") else "none"
    [cell] = make_cells(
        models=[model], transforms=[transform], recipe={"filters": 8, "muon_rate": 0.05}
    )
    recipe = Recipe.model_validate(cell.settings)
    network = build_model(cell, recipe, 10)
    groups = make_optimizer(network, recipe).groups
    found = [group for group in groups if isinstance(group.rule, Muon)]
    assert [list(p.shape) for group in found for p in group.parameters] == (
        [[8, 8, 7, 7]] if "CNN" in model else []
    )
    assert all(group.lr_factor * recipe.learning_rate == pytest.approx(0.05) for group in found)
    assert sum(len(group.parameters) for group in groups) == len(list(network.parameters()))
    for part in network.modules():
        if isinstance(part, SpatialTransformer):
            theirs = {id(p) for p in part.parameters()}
            assert not any(id(p) in theirs for group in found for p in group.parameters)
