"""Lazy modules, such as `torch.nn.LazyLinear`: their parameters get shapes in a first call."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from stn_cluster.errors import UserError
from stn_cluster.stn.modes import evaluating

FEW = 2  # images of the first call


def initialise_lazy(model: object, name: str, canvas: int) -> None:
    """Calls a model once, in evaluation mode, if it has lazy parameters or buffers.

    Their initial values come from the default generators. Other models are not called.

    Args:
        model: what a plug-in gave.
        name: its name in errors.
        canvas: height and width of its images in pixels.

    Raises:
        UserError: some are still without a shape.
    """
    if not isinstance(model, nn.Module) or not _lazy_names(model):
        return
    device = next(chain(model.parameters(), model.buffers())).device
    with torch.no_grad(), evaluating(model):
        model(torch.zeros(FEW, 1, canvas, canvas, device=device))
    if missing := _lazy_names(model):
        raise UserError(
            f"{name}: a first batch gave {', '.join(missing)} no shape: a lazy module has to take "
            "part in every call, also in evaluation mode"
        )


def _lazy_names(model: nn.Module) -> list[str]:
    states = (*model.named_parameters(), *model.named_buffers())
    return [name for name, state in states if is_lazy(state)]
