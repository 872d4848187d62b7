"""Initial weights: PyTorch's own, and He's."""

from __future__ import annotations

import math

import pytest
import torch
from support.packs import make_cells
from torch import Tensor, nn

from stn_cluster.data.cache import DataCache
from stn_cluster.recipes import Recipe
from stn_cluster.stn import SpatialTransformer
from stn_cluster.training.building import build_model
from stn_cluster.training.cell_training import CellTraining


def model_of(model: str, transform: str, **recipe: object) -> nn.Module:
    wide = {"filters": 64, "hidden_units": 256}
    [cell] = make_cells(models=[model], transforms=[transform], recipe=wide | recipe)
    torch.manual_seed(0)
    return build_model(cell, Recipe.model_validate(cell.settings), 10)


@pytest.mark.parametrize(("model", "transform"), [("ST-FCN", "affine"), ("ST-CNN", "tps")])
def test_he_keeps_the_variance_and_leaves_the_transformer_the_identity(
    model: str, transform: str
) -> None:
    network = model_of(model, transform, initialisation="he")
    [transformer] = [m for m in network.modules() if isinstance(m, SpatialTransformer)]
    assert transformer.theta.weight.count_nonzero() == 0
    assert torch.equal(transformer.theta.bias, transformer.grid.identity)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer is transformer.theta:
            continue
        assert layer.bias is not None
        assert layer.bias.count_nonzero() == 0
        fan_in = layer.weight[0].numel()
        spread = float(layer.weight.detach().square().mean().sqrt())
        noise = 1 / math.sqrt(2 * layer.weight.numel())  # of a sample's, relative
        assert spread == pytest.approx(math.sqrt(2 / fan_in), rel=5 * noise)


def test_he_leaves_more_units_of_a_localisation_net_alive(data: DataCache) -> None:
    def dead(initialisation: str) -> int:
        network = model_of("ST-FCN", "affine", initialisation=initialisation)
        [transformer] = [m for m in network.modules() if isinstance(m, SpatialTransformer)]
        [cell] = make_cells(models=["FCN"])
        features: Tensor = transformer.localisation(data.test(cell).images.whole()[:500])
        return int((features.amax(0) == 0).sum())

    assert dead("he") < dead("pytorch") > 3


def test_without_it_a_cell_begins_as_it_always_did(data: DataCache) -> None:
    [cell] = make_cells(models=["CNN"])
    assert "initialisation" not in cell.settings
    first = CellTraining(cell, data.test(cell), data.device).model.features[0]
    assert first.bias.count_nonzero() > 0
