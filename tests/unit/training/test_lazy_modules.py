"""Lazy modules of plug-ins: their parameters have shapes before the optimiser is made."""

from __future__ import annotations

import pytest
import torch
from support.packs import arithmetic, make_cells, train
from torch import Tensor, nn

from stn_cluster import register_model
from stn_cluster.data.cache import DataCache
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.stn import SpatialTransformer, Task
from stn_cluster.training.cell_training import CellTraining, build_model


def lazy(task: Task) -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(4, 5),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(task.n_classes),
    )


def eager(task: Task) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * (task.canvas - 4) ** 2, task.n_classes),
    )


class OnlyInTraining(nn.Module):
    """A model with a lazy module that only a call in training mode reaches."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.scores = nn.Linear(28 * 28, task.n_classes)
        self.help = nn.LazyLinear(28 * 28)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        scores: Tensor = self.scores(self.help(flat) if self.training else flat)
        return scores


class MadeWhenCalled(nn.Module):
    """A model that makes a layer in its first call."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.scores = nn.Linear(16, task.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if not hasattr(self, "hidden"):
            self.hidden = nn.Linear(flat.shape[1], 16)
        scores: Tensor = self.scores(self.hidden(flat))
        return scores


def cell_of(build: object, **recipe: object) -> Cell:
    register_model("Lazy")(build)  # type: ignore[type-var]
    [cell] = make_cells(models=["Lazy"], recipe=recipe)
    return cell


def test_a_lazy_model_trains_as_the_same_model_with_shapes_written_out(data: DataCache) -> None:
    """Its weights are drawn in another order, so they are set to the other one's."""
    written_out = cell_of(eager)
    expected = CellTraining(written_out, data.test(written_out), data.device)
    cell = cell_of(lazy)
    run = CellTraining(cell, data.test(cell), data.device)
    assert [p.shape for p in run.model.parameters()] == [
        p.shape for p in expected.model.parameters()
    ]
    assert run.failure("").parameters == expected.failure("").parameters
    run.model.load_state_dict(expected.model.state_dict())
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    for _ in range(3):
        run.train(images, labels)
        expected.train(images, labels)
    wanted = expected.model.state_dict()
    assert all(torch.equal(found, wanted[name]) for name, found in run.model.state_dict().items())


def test_a_lazy_model_trains_the_same_each_time_and_resumes(data: DataCache) -> None:
    cell = cell_of(lazy)
    first, second = train([cell], data)[cell.key], train([cell], data)[cell.key]
    assert first.error is None
    assert arithmetic(first) == arithmetic(second)
    run = CellTraining(cell, data.test(cell), data.device)
    run.check_restorable()


def test_lazy_layers_start_from_hes_weights_where_the_recipe_says_so() -> None:
    cell = cell_of(lazy, initialisation="he")
    model = build_model(cell, Recipe.model_validate(cell.settings), 10)
    assert all(
        not layer.bias.count_nonzero()  # type: ignore[operator, union-attr]
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    )


def test_a_transformers_localisation_net_may_be_lazy(data: DataCache) -> None:
    def build(task: Task) -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU())
        return nn.Sequential(
            SpatialTransformer(1, task.size, localisation=net),
            nn.Flatten(),
            nn.LazyLinear(task.n_classes),
        )

    cell = cell_of(build)
    assert train([cell], data)[cell.key].error is None


def test_a_lazy_module_that_a_first_batch_does_not_reach_is_named() -> None:
    cell = cell_of(OnlyInTraining)
    with pytest.raises(UserError, match=r"^model 'Lazy': .*help\.weight, help\.bias no shape"):
        build_model(cell, Recipe.model_validate(cell.settings), 10)


def test_layers_made_in_a_call_are_refused_before_training(data: DataCache) -> None:
    cell = cell_of(MadeWhenCalled)
    run = CellTraining(cell, data.test(cell), data.device)
    with pytest.raises(UserError, match=r"^model 'Lazy' added, .*torch\.nn\.LazyLinear"):
        run.rehearse(torch.rand(4, 1, 28, 28), torch.arange(4))
