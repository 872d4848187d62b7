"""Building a cell's network from its description."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from stn_cluster.data.isolation import isolated
from stn_cluster.data.random_state import RandomState
from stn_cluster.dataset_info import WHITE, scaled
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe, Shape
from stn_cluster.registry import lookup
from stn_cluster.stn.models import Task
from stn_cluster.stn.normalisation import normalise_input
from stn_cluster.training.checked_model import component_of, give_own_weights
from stn_cluster.training.initialisation import initialise_he
from stn_cluster.training.lazy_modules import initialise_lazy


@contextmanager
def alone(name: str, user_code: bool, random: RandomState) -> Iterator[None]:
    """Within the block, random numbers are a cell's own; a plug-in's code is isolated.

    Args:
        name, user_code: of `component_of` the cell.
        random: what the cell draws from.
    """
    with isolated(name, random) if user_code else random.in_place():
        yield


def build_model(cell: Cell, recipe: Shape, n_classes: int) -> nn.Module:
    """Builds the cell's network, with initial weights from torch's default generator.

    Raises:
        UserError: a plug-in gave no module, or one that another cell has, or lazy modules that a
            batch does not initialise.
    """
    entry, network = lookup("model", cell.architecture), cell.network
    model: nn.Module = entry.load()(task_of(cell, recipe, n_classes))
    name, user_code = component_of(cell)
    if user_code:
        initialise_lazy(model, name, cell.data.channels, cell.canvas)
        give_own_weights(model, name)
    if isinstance(recipe, Recipe) and recipe.initialisation == "he":
        initialise_he(model)
    if network is not None and network.mean is not None and network.std is not None:
        normalise_input(model, network.mean, network.std)
    return model


def task_of(cell: Cell, recipe: Shape, n_classes: int) -> Task:
    """The task that the cell's network is built for."""
    entry, size = lookup("model", cell.architecture), recipe.transformer_size
    filters, second_filters = recipe.widths
    return Task(
        channels=cell.data.channels,
        frame=cell.data.frame,
        canvas=cell.canvas,
        n_classes=n_classes,
        background=_background(cell),
        transform=lookup("transform", cell.transform).load() if entry.spatial else None,
        filters=filters,
        second_filters=second_filters,
        hidden_units=recipe.hidden_units,
        dropout=recipe.dropout,
        transformer_size=None if size is None else scaled(size, cell.data.frame),
        precision=recipe.precision,
    )


def _background(cell: Cell) -> tuple[float, ...]:
    """Background of an image, as the model sees it: normalised like all else."""
    values = [value / WHITE for value in cell.data.background]
    network = cell.network
    if network is not None and network.mean is not None and network.std is not None:
        means, stds = (n * (len(values) // len(n)) for n in (network.mean, network.std))
        values = [(v - mean) / std for v, mean, std in zip(values, means, stds, strict=True)]
    return tuple(values)
