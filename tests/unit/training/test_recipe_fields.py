"""Fields of a recipe that are off by default: the same result in any company, and resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.captures import train_captured
from support.packs import ITERATIONS, arithmetic, make_cells, train
from torch import nn

from stn_cluster import register_transform
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe, smoke
from stn_cluster.stn import AffineGrid, Dropout, GridGenerator, SpatialTransformer
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.checkpoints import from_bytes
from stn_cluster.training.trainer import PackTrainer

FIELDS: dict[str, dict[str, Any]] = {
    "batch size": {"by_model": {"FCN": {"batch_size": 24}, "ST-FCN": {"batch_size": 24}}},
    "filters": {"filters": [4, 6]},
    "decay": {"weight_decay": 0.5, "decay": "weights"},
    "initialisation": {"initialisation": "he"},
    "theta_jitter": {"theta_jitter": 1.0},
    "dropout": {"dropout": 0.3},
    "image_jitter": {"image_jitter": 0.8},
    "muon_rate": {"muon_rate": 0.05},
    "ema": {"ema": 0.8, "evaluate_every": 7},
}
FIELDS["all"] = {name: value for fields in FIELDS.values() for name, value in fields.items()}
every_field = pytest.mark.parametrize("fields", FIELDS.values(), ids=list(FIELDS))


def cells_with(fields: dict[str, Any], **axes: object) -> list[Cell]:
    axes = {"models": ["FCN", "CNN", "ST-FCN", "ST-CNN"], "transforms": ["none", "tps"]} | axes
    return make_cells(recipe={"optimizer": "adamw", "learning_rate": 0.003} | fields, **axes)


@every_field
def test_a_cell_gives_the_same_bits_alone_in_a_pack_and_captured(
    data: DataCache, fields: dict[str, Any]
) -> None:
    cells = cells_with(fields)
    together = train(cells, data)
    captured, _ = train_captured(cells, data)
    for cell in cells:
        alone = arithmetic(train([cell], data)[cell.key])
        assert alone == arithmetic(together[cell.key]) == arithmetic(captured[cell.key])
    without = train(cells_with({}), data)
    assert {outcome.predictions for outcome in together.values()} != {
        outcome.predictions for outcome in without.values()
    }


@every_field
def test_a_resumed_cell_equals_the_undisturbed_one_bit_for_bit(
    data: DataCache, fields: dict[str, Any]
) -> None:
    cells = cells_with(fields)
    states: dict[str, bytes] = {}
    for stop in (5, 13, ITERATIONS - 1):
        trainer = PackTrainer(cells, data, states)
        while any(run.step < stop for run in trainer._running.values()):
            for stream in {cell.stream for cell in cells}:
                trainer._advance(stream)
        states = trainer.checkpoints()
    resumed = train(cells, data, states)
    for key, outcome in train(cells, data).items():
        assert arithmetic(resumed[key]) == arithmetic(outcome)


# --- jitter of theta ---


def trained_on(cell: Cell, data: DataCache) -> CellTraining:
    return CellTraining(cell, data.test(cell), data.device)


@pytest.mark.parametrize(
    ("transform", "sigmas"),
    [
        ("affine", [0.08, 0.08, 0.05] * 2),
        ("projective", [*[0.08, 0.08, 0.05] * 2, 0.03, 0.03]),
        ("tps", [0.04] * 32),
    ],
)
def test_theta_has_the_noise_of_its_transform_in_training_alone(
    data: DataCache, transform: str, sigmas: list[float]
) -> None:
    [cell] = cells_with({"theta_jitter": 2.0}, models=["ST-FCN"], transforms=[transform])
    run = trained_on(cell, data)
    transformer = run.model[0]
    assert isinstance(transformer, SpatialTransformer)
    run.train(*data.loader(cell).batch(0))  # sets the amount of its step
    images = data.test(cell).images.whole()[:1].expand(4000, -1, -1, -1)
    with torch.no_grad():
        theta = transformer(images, details=True).theta
        transformer.eval()
        still = transformer(images, details=True).theta
    assert torch.equal(still, still[:1].expand_as(still))
    torch.testing.assert_close(theta.mean(0), still[0], atol=0.02, rtol=0)
    torch.testing.assert_close(theta.std(0), 2 * torch.tensor(sigmas), atol=0, rtol=0.06)


def test_the_jitter_of_theta_fades_away_in_the_last_tenth_of_the_steps() -> None:
    made = smoke().model_copy(update={"iterations": 1000, "theta_jitter": 0.5})
    amounts = [made.jitter_at(step) for step in range(1000)]
    assert set(amounts[:900]) == {0.5}
    assert amounts[949] == pytest.approx(0.25)
    assert amounts[900:] == sorted(amounts[900:], reverse=True)
    assert amounts[-1] == 0
    assert {smoke().jitter_at(step) for step in range(smoke().iterations)} == {0}


@pytest.mark.usefixtures("registered")
def test_a_transform_that_does_not_say_how_much_is_refused(data: DataCache) -> None:
    @register_transform("stiff")
    class Stiff(GridGenerator):
        def __init__(self, size: tuple[int, int]) -> None:
            super().__init__(size)
            self.affine = AffineGrid(size)
            self.constant("identity", self.affine.identity)

        def forward(self, theta: torch.Tensor) -> torch.Tensor:
            grid: torch.Tensor = self.affine(theta)
            return grid

    cells = cells_with({"theta_jitter": 1.0}, models=["ST-FCN"], transforms=["stiff"])
    [outcome] = train(cells, data).values()
    last = (outcome.error or "").splitlines()[-1]
    assert last == "ValueError: theta_jitter needs a scale: Stiff registers no `jitter`"
    assert train(cells_with({}, models=["ST-FCN"], transforms=["stiff"]), data)


# --- dropout ---


def test_dropout_leaves_its_part_out_in_training_and_keeps_the_mean() -> None:
    layer = Dropout(0.2)
    layer.generator = torch.Generator().manual_seed(1)
    ones = torch.ones(100, 1000, requires_grad=True)
    dropped = layer(ones)
    assert dropped.unique().tolist() == [0, 1.25]
    assert float(dropped.detach().mean()) == pytest.approx(1, abs=0.01)
    dropped.sum().backward()
    assert torch.equal(ones.grad, dropped)  # what is left out learns nothing
    assert not torch.equal(layer(ones), dropped)
    assert layer.eval()(ones) is ones


def test_dropout_stands_behind_each_hidden_layer_and_changes_no_name(data: DataCache) -> None:
    for model, transform in (("FCN", "none"), ("ST-FCN", "affine")):
        [cell] = cells_with({"dropout": 0.3}, models=[model], transforms=[transform])
        [without] = cells_with({}, models=[model], transforms=[transform])
        network = trained_on(cell, data).model
        found = [part for part in network.modules() if isinstance(part, Dropout)]
        assert [part.p for part in found] == [0.3, 0.3]
        assert list(network.state_dict()) == list(trained_on(without, data).model.state_dict())
    [cell] = cells_with({"dropout": 0.3}, models=["CNN"], transforms=["none"])
    assert not any(
        isinstance(m, Dropout | nn.Dropout) for m in trained_on(cell, data).model.modules()
    )


# --- the average of the weights ---


def test_the_average_of_the_second_half_is_what_is_tested_and_kept(data: DataCache) -> None:
    [cell] = cells_with({"ema": 0.75}, models=["FCN"], transforms=["none"])
    run, feed = trained_on(cell, data), data.loader(cell)
    averages: dict[str, torch.Tensor] = {}
    while not run.done:
        first_half = run.step < ITERATIONS / 2
        run.train(*feed.batch(run.step))
        for name, value in run.model.state_dict().items():
            before = averages.get(name, value)
            averages[name] = value.clone() if first_half else 0.75 * before + 0.25 * value
    last = {name: value.clone() for name, value in run.model.state_dict().items()}
    kept = from_bytes(run.outcome().weights or b"")["model"]
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(kept[name], averages[name])
        assert not torch.equal(kept[name], last[name])
        assert torch.equal(value, last[name])  # training would go on from these


def test_other_seeds_draw_other_noise(data: DataCache) -> None:
    cells = cells_with({"dropout": 0.3}, models=["FCN"], transforms=["none"], seeds=[0, 1])
    first, second = (trained_on(cell, data).noise for cell in cells)
    assert first is not None
    assert second is not None
    assert not torch.equal(first.get_state(), second.get_state())
    [plain] = cells_with({}, models=["FCN"], transforms=["none"])
    assert trained_on(plain, data).noise is None
    assert Recipe.model_validate(plain.settings).dropout == 0
