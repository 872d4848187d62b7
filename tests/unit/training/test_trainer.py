"""Training: the same result alone, in a pack, and after any interruption."""

from __future__ import annotations

import math
import random

import pytest
import torch
from support.packs import ITERATIONS, arithmetic, make_cells, train
from torch import nn

from stn_cluster import register_model
from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.registry import resolve
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.checkpoints import to_bytes
from stn_cluster.training.trainer import PackTrainer


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_cell_gives_the_same_bits_alone_and_in_a_pack_of_all_eight_rows(
    data: DataCache, precision: str
) -> None:
    cells = make_cells(recipe={"precision": precision})
    assert len(cells) == 8
    together = train(cells, data)
    for cell in cells:
        alone = train([cell], data)
        assert arithmetic(alone[cell.key]) == arithmetic(together[cell.key]), cell.label


def test_a_pack_of_several_streams_and_lengths_gives_each_cell_its_own_result(
    data: DataCache,
) -> None:
    cells = make_cells(models=["FCN"], distortions=["R", "RTS"], seeds=[0, 1])
    cells += make_cells(models=["FCN"], recipe={"iterations": 40})
    together = train(cells, data)
    for cell in cells:
        assert arithmetic(train([cell], data)[cell.key]) == arithmetic(together[cell.key])


@pytest.mark.parametrize(
    ("optimizer", "precision"), [("sgd", "float32"), ("adamw", "float32"), ("adamw", "bf16")]
)
def test_a_cell_interrupted_anywhere_and_resumed_equals_the_undisturbed_one_bit_for_bit(
    data: DataCache, optimizer: str, precision: str
) -> None:
    recipe = {"optimizer": optimizer, "momentum": 0.9, "evaluate_every": 20, "learning_rate": 0.003}
    cells = make_cells(recipe=recipe | {"precision": precision})
    undisturbed = train(cells, data)
    states: dict[str, bytes] = {}
    for stop in sorted(random.Random(optimizer).sample(range(1, ITERATIONS), 3)):
        trainer = PackTrainer(cells, data, states)
        while any(run.step < stop for run in trainer._running.values()):
            trainer._advance(cells[0].stream)
        states = trainer.checkpoints()
    resumed = train(cells, data, states)
    for key, outcome in undisturbed.items():
        assert arithmetic(resumed[key]) == arithmetic(outcome)


def test_cells_resumed_at_different_steps_of_one_stream_still_get_their_own_batches(
    data: DataCache,
) -> None:
    cells = make_cells(models=["FCN", "CNN"])
    undisturbed = train(cells, data)
    trainer = PackTrainer(cells[:1], data)
    for _ in range(7):
        trainer._advance(cells[0].stream)
    resumed = train(cells, data, trainer.checkpoints())
    for key, outcome in undisturbed.items():
        assert arithmetic(resumed[key]) == arithmetic(outcome)


def test_a_checkpoint_of_the_last_step_is_tested_and_not_trained_further(
    data: DataCache,
) -> None:
    [cell] = make_cells(models=["FCN"])
    trainer = PackTrainer([cell], data)
    run = trainer._running[cell.key]
    while not run.done:
        run.train(*trainer._loaders[cell.stream].batch(run.step))
    assert arithmetic(train([cell], data, trainer.checkpoints())[cell.key]) == arithmetic(
        train([cell], data)[cell.key]
    )


@pytest.mark.parametrize("damage", [b"", b"nonsense", "torn", "of another cell"])
def test_a_damaged_checkpoint_is_not_used(data: DataCache, damage: bytes | str) -> None:
    cell, other = make_cells(models=["FCN"], seeds=[0, 1])
    state = PackTrainer([cell if damage == "torn" else other], data).checkpoints().popitem()[1]
    bad = damage if isinstance(damage, bytes) else state[:-100] if damage == "torn" else state
    assert arithmetic(train([cell], data, {cell.key: bad})[cell.key]) == arithmetic(
        train([cell], data)[cell.key]
    )


@pytest.mark.usefixtures("registered")
def test_dropout_draws_from_the_cell_alone(data: DataCache) -> None:
    @register_model("Forgets")
    def forgets(task: object) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(28 * 28, 10))

    cells = make_cells(models=["Forgets", "FCN"], seeds=[0, 1])
    together = train(cells, data)
    torch.rand(17)  # what others draw changes nothing
    for cell in cells:
        assert arithmetic(train([cell], data)[cell.key]) == arithmetic(together[cell.key])
    first, second = (together[c.key].curve for c in cells if c.model == "Forgets")
    assert first != second  # seeds differ


def test_learning_lowers_the_error_and_the_curve_tells(data: DataCache) -> None:
    [cell] = resolve(
        parse_config(
            {
                "models": ["FCN"],
                "distortions": ["R"],
                "recipe": {"iterations": 300, "evaluate_every": 100, "label_smoothing": 0},
            }
        )
    )
    outcome = train([cell], data)[cell.key]
    assert outcome.n_wrong is not None
    assert outcome.n_test == 3600
    assert outcome.n_wrong / outcome.n_test < 0.15
    assert outcome.predictions is not None
    assert len(outcome.predictions.first) == 3600
    assert sum(outcome.confusion or ()) == 3600
    curve = outcome.curve
    assert [point.step for point in curve if point.test_error is not None] == [100, 200]
    assert curve[-1].step == 300
    assert curve[-1].train_loss < curve[0].train_loss / 4


def test_the_true_class_gives_to_all_what_the_recipe_says(data: DataCache) -> None:
    [cell] = make_cells(models=["FCN"], recipe={"iterations": 1, "label_smoothing": 0.25})
    run = CellTraining(cell, data.test(cell), data.device)
    images, labels = data.loader(cell).batch(0)
    surprise = -run.model(images).log_softmax(1)
    expected = 0.75 * surprise[torch.arange(len(labels)), labels] + 0.25 * surprise.mean(1)
    run.train(images, labels)
    assert run.curve[-1].train_loss == pytest.approx(expected.mean().item(), rel=1e-5)


def test_the_localisation_net_learns_at_its_own_rate(data: DataCache) -> None:
    cells = make_cells(models=["ST-FCN"], transforms=["affine"], recipe={"localisation_rate": 0.1})
    trainer = PackTrainer(cells, data)
    run = trainer._running[cells[0].key]
    trainer._advance(cells[0].stream)
    rates = {group.lr_factor: float(group.lr) for group in run.optimizer.groups}
    assert rates == {1.0: pytest.approx(0.01), 0.1: pytest.approx(0.001)}
    slow = next(group for group in run.optimizer.groups if group.lr_factor == 0.1)
    names = {id(p): name for name, p in run.model.named_parameters()}
    assert all("localisation" in names[id(p)] or "theta" in names[id(p)] for p in slow.parameters)
    assert len(slow.parameters) == 8


def test_a_checkpoint_of_another_layout_is_not_used(data: DataCache) -> None:
    [cell] = make_cells(models=["FCN"])
    odd = to_bytes({"key": cell.key, "model": {"other": torch.zeros(1)}})
    assert arithmetic(train([cell], data, {cell.key: odd})[cell.key]) == arithmetic(
        train([cell], data)[cell.key]
    )


def test_a_cell_that_is_dropped_ends_without_an_outcome_and_its_pack_mates_go_on(
    data: DataCache,
) -> None:
    dropped, kept = make_cells(models=["FCN", "CNN"])
    trainer = PackTrainer([dropped, kept], data)
    trainer._advance(kept.stream)
    for key in (dropped.key, dropped.key, "unknown"):
        trainer.drop(key)
    assert set(trainer.steps()) == set(trainer.checkpoints()) == {kept.key}
    [outcome] = [o for progress in trainer.run() for o in progress.ended]
    assert arithmetic(outcome) == arithmetic(train([kept], data)[kept.key])


def test_the_outside_is_looked_at_after_a_time_and_whenever_a_cell_ends(
    data: DataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [*make_cells(models=["FCN"]), *make_cells(models=["FCN"], recipe={"iterations": 3})]

    def looks(seconds: float) -> list[tuple[int, int | None]]:
        """Number of ended cells at each yield, and steps of the others."""
        monkeypatch.setattr("stn_cluster.training.trainer.YIELD_SECONDS", seconds)
        seen = PackTrainer(cells, data).run()
        return [(len(look.ended), max(look.steps.values(), default=None)) for look in seen]

    assert looks(math.inf) == [(1, 3), (1, None)]
    every_step = [(int(step == 3), step) for step in range(1, ITERATIONS)]
    assert looks(0.0) == [*every_step, (1, None)]
