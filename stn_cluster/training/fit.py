"""Whether a model fits its images: shapes alone, without weights and without arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.recipes import Recipe
from stn_cluster.training.building import build_model
from stn_cluster.training.checked_model import component_of


def check_fit(cell: Cell, n_classes: int) -> None:
    """Runs the cell's model in training and in evaluation on tensors that have only a shape.

    Args:
        cell: a cell that is trained, of a model that is no plug-in's.
        n_classes: number of classes of its data set.

    Raises:
        UserError: the model cannot be built for these images, or does not take them.
    """
    recipe = Recipe.model_validate(cell.settings)
    image = (cell.data.channels, cell.canvas, cell.canvas)
    doing = "take images"
    try:
        with torch.no_grad():
            with _without_values():
                model = build_model(cell, recipe, n_classes)
            model.to("meta").eval()(torch.empty(1, *image, device="meta"))
            doing = f"train on batches of {recipe.batch_size} images"
            scores = model.train()(torch.empty(recipe.batch_size, *image, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{component_of(cell)[0]} does not {doing} of {'x'.join(map(str, image))} "
            f"({cell.dataset}, {cell.distortion}; channels, height, width): {reason}"
        ) from error
    assert scores.shape == (recipe.batch_size, n_classes)


@contextmanager
def _without_values() -> Iterator[None]:
    """Parameters that are made within the block take no memory and no time: they have no values."""

    def hook(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        return None if parameter is None else nn.Parameter(parameter.to("meta"))

    registered = register_module_parameter_registration_hook(hook)  # type: ignore[arg-type]
    try:
        yield
    finally:
        registered.remove()
