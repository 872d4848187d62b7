"""Models of plug-ins: their random numbers, and their state in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.captures import train_captured
from support.packs import arithmetic, make_cells, train
from support.user_models import Given, Linear, doing, pack_of
from torch import Tensor, nn

from stn_cluster import register_model
from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.stn import Task
from stn_cluster.training.trainer import PackTrainer


def draw(net: Linear, images: Tensor) -> Tensor:
    noise = random.random() + np.random.rand() + torch.rand(1).item()
    return images + noise if net.training else images + 0.1 * noise


def interrupted(cells: list[Cell], data: DataCache, at: int) -> dict[str, bytes]:
    trainer = PackTrainer(cells, data)
    for _ in range(at):
        trainer._advance(cells[0].stream)
    return trainer.checkpoints()


@pytest.mark.parametrize("every", [None, 8])
def test_python_and_numpy_draw_from_the_seed_and_go_on_after_an_interruption(
    every: int | None, data: DataCache
) -> None:
    register_model("Mine")(lambda task: Linear(draw))
    cells = make_cells(models=["Mine"], seeds=[0, 1], recipe={"evaluate_every": every})
    [fcn] = make_cells(models=["FCN"])
    together = train([*cells, fcn], data)
    states = interrupted(cells, data, 11)
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    resumed = train(cells, data, states)
    for cell in cells:
        assert arithmetic(train([cell], data)[cell.key]) == arithmetic(together[cell.key])
        assert arithmetic(resumed[cell.key]) == arithmetic(together[cell.key])
    first, second = (together[cell.key].curve for cell in cells)
    assert first != second
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


def warms_up(net: Linear, images: Tensor) -> Tensor:
    return images * min(1.0, net.steps / 10)


class Remembers(nn.Module):
    """Has state in all places that a checkpoint can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(784, 10)
        self.inner = Linear()
        self.mean = torch.zeros(784)
        self.register_buffer("square", torch.zeros(784), persistent=False)
        self.norms: list[float] = []
        self.seen = {"steps": 0, "last": (0.0, None)}
        self.alias = [self.scores]  # changes as the weights do, and is kept with them
        self.unseen = lambda: None

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if self.training:
            self.mean.lerp_(flat.mean(0), 0.1)
            self.square = self.square * 0.9 + flat.square().mean(0) * 0.1
            self.norms.append(float(flat.norm()))
            self.seen = {"steps": self.seen["steps"] + 1, "last": (self.norms[-1], None)}
        centred = (flat - self.mean) / (self.square + 1).sqrt()
        scores = self.scores(centred * (1 + len(self.norms) / 10))
        return scores + self.inner(images) * self.seen["last"][0] / 100


class Draws(Linear):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__(lambda net, images: images + torch.rand(1, generator=self.own))
        self.own = torch.Generator().manual_seed(3)


class Schedules(nn.Sequential):
    """Changes numbers and modes of torch's modules."""

    def __init__(self) -> None:
        norm = nn.BatchNorm1d(784)
        super().__init__(nn.Flatten(), nn.Dropout(0.5), norm, nn.Linear(784, 10))
        self.steps = 0

    def forward(self, images: Tensor) -> Tensor:
        self.steps += self.training
        if self.training:
            self[1].p *= 0.9
            self[2].momentum *= 0.9
        if self.steps == 5:
            self[2].eval()
        scores: Tensor = super().forward(images)
        return scores


@pytest.mark.parametrize("build", [lambda: Linear(warms_up), Remembers, Draws, Schedules])
def test_attributes_that_change_in_training_are_kept(
    build: Callable[[], nn.Module], data: DataCache
) -> None:
    mine, _ = pack_of(lambda task: build())
    states = interrupted([mine], data, 11)
    assert arithmetic(train([mine], data, states)[mine.key]) == arithmetic(
        train([mine], data)[mine.key]
    )


class Meter:
    def __init__(self) -> None:
        self.total = 0


def test_a_cell_whose_state_cannot_be_kept_begins_anew_and_the_log_says_so_once(
    data: DataCache, caplog: pytest.LogCaptureFixture, alone: tuple[object, ...]
) -> None:
    class Metered(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.meter = Meter()

        def forward(self, images: Tensor) -> Any:
            self.meter.total += self.training
            return super().forward(images * self.meter.total)

    mine, fcn = pack_of(lambda task: Metered())
    trainer = PackTrainer([mine, fcn], data)
    assert trainer.checkpoints().keys() == {mine.key, fcn.key}  # nothing has changed yet
    trainer._advance(mine.stream)
    for _ in range(2):
        states = trainer.checkpoints()
        assert states.keys() == {fcn.key}
    [said] = [record.getMessage() for record in caplog.records]
    assert said == (
        f"{mine.label} has no checkpoint of step 1, and begins anew if it is interrupted: model "
        "'Mine': attribute 'meter' (Meter) cannot be kept in a checkpoint, which holds numbers, "
        "strings, tensors, and lists, tuples, sets and dicts of these"
    )
    resumed = train([mine, fcn], data, states)
    assert arithmetic(resumed[mine.key]) == arithmetic(train([mine], data)[mine.key])
    assert arithmetic(resumed[fcn.key]) == alone


def replaces_a_module(net: Linear, images: Tensor) -> object:
    if net.steps == 5:
        net.act = nn.Tanh()
    return net.act(images - 0.1)


def hooks_a_module(net: Linear, images: Tensor) -> None:
    if net.steps == 5 and net.training:
        net.scores.register_forward_hook(lambda module, given, made: made * 2)


def removes_an_attribute(net: Linear, images: Tensor) -> object:
    if net.steps == 5:
        vars(net).pop("flag", None)
    return images * (2 if hasattr(net, "flag") else 1)


def averages_in_a_list(net: Linear, images: Tensor) -> object:
    """The state_dict does not have modules in lists."""
    with torch.no_grad():
        net.hidden[0].weight.lerp_(net.scores.weight, 0.1)
        return images + net.hidden[0](images.flatten(1)).mean()


@pytest.mark.parametrize(
    "before", [replaces_a_module, hooks_a_module, removes_an_attribute, averages_in_a_list]
)
def test_a_cell_whose_structure_changes_has_no_checkpoint(before: Given, data: DataCache) -> None:
    def build(task: Task) -> nn.Module:
        net = Linear(before)
        net.act, net.flag, net.hidden = nn.ReLU(), True, [nn.Linear(784, 10)]
        return net

    mine, _ = pack_of(build)
    assert interrupted([mine], data, 11) == {}


class Extra(Linear):
    """Has state that `get_extra_state` gives."""

    state: object = Meter()

    def get_extra_state(self) -> object:
        return self.state


class NeverSet(Extra):
    state = {"steps": 3}


class Lambda(Extra):
    state = len, lambda: None


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (Extra, "state '_extra_state' (Meter) cannot be kept in a checkpoint"),
        (Lambda, "state '_extra_state' (tuple) cannot be kept in a checkpoint"),
        (NeverSet, "cannot be restored from a checkpoint: RuntimeError"),
    ],
)
def test_extra_state_that_cannot_be_read_back_is_told_before_the_first_step(
    build: Callable[[], nn.Module], told: str, data: DataCache, alone: tuple[object, ...]
) -> None:
    mine, fcn = pack_of(lambda task: build())
    outcomes = train([mine, fcn], data)
    assert told in str(outcomes[mine.key].error)
    assert str(outcomes[mine.key].error).startswith("UserError: model 'Mine'")
    assert outcomes[mine.key].iterations == 0
    assert arithmetic(outcomes[fcn.key]) == alone


class Counts(Linear):
    """Keeps its steps as extra state, as torch means it."""

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_extra_state_that_can_be_read_back_is_kept(data: DataCache) -> None:
    mine, _ = pack_of(lambda task: Counts(warms_up))
    states = interrupted([mine], data, 11)
    assert arithmetic(train([mine], data, states)[mine.key]) == arithmetic(
        train([mine], data)[mine.key]
    )


@pytest.mark.parametrize("before", [draw, warms_up], ids=["draws", "counts"])
def test_a_step_that_a_graph_would_not_repeat_is_trained_eagerly(
    before: Given, data: DataCache
) -> None:
    mine, fcn = doing(before)
    captured, rounds = train_captured([mine, fcn], data)
    assert rounds.replays == 0
    assert arithmetic(captured[mine.key]) == arithmetic(train([mine], data)[mine.key])


def test_a_plugins_step_that_repeats_itself_is_captured(data: DataCache) -> None:
    def build(task: Task) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    mine, fcn = pack_of(build)
    captured, rounds = train_captured([mine, fcn], data)
    assert rounds.replays > 0
    assert arithmetic(captured[mine.key]) == arithmetic(train([mine], data)[mine.key])
