"""torchvision's models in training: with random numbers of their own, resumed to the bit."""

from __future__ import annotations

import pytest
import torch
from support.packs import arithmetic, make_cells, train

from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.training import trainer as trainer_module
from stn_cluster.training.trainer import PackTrainer

# Dropout and batch normalisation: random numbers, and state beside the parameters.
MODEL = {"name": "torchvision:mobilenet_v3_small", "as": "mobile", "mean": 0.1, "std": 0.3}
STEPS = 4


@pytest.fixture(scope="module")
def pair() -> list[Cell]:
    return make_cells(models=[MODEL, "FCN"], recipe={"iterations": STEPS, "ema": 0.5})


@pytest.fixture(scope="module")
def together(pair: list[Cell], data: DataCache) -> list[tuple[object, ...]]:
    outcomes = train(pair, data)
    return [arithmetic(outcomes[cell.key]) for cell in pair]


@pytest.mark.parametrize("number", [0, 1])
def test_a_cell_does_not_depend_on_its_pack(
    pair: list[Cell], together: list[tuple[object, ...]], data: DataCache, number: int
) -> None:
    torch.manual_seed(number)  # nor on what else is drawn in the process
    assert arithmetic(train([pair[number]], data)[pair[number].key]) == together[number]


def test_an_interrupted_cell_goes_on_to_the_bit(
    pair: list[Cell],
    together: list[tuple[object, ...]],
    data: DataCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer_module, "YIELD_SECONDS", 0.0)
    trainer = PackTrainer([pair[0]], data)
    for progress in trainer.run():
        if progress.steps[pair[0].key] == STEPS // 2:
            break
    states = trainer.checkpoints()
    assert arithmetic(train([pair[0]], data, states)[pair[0].key]) == together[0]
