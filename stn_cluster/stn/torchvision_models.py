"""torchvision's classifiers, fitted to a task: its channels, its classes, and its canvas."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stn_cluster.stn.models import Task

# Heads that take part in training only, of GoogLeNet and Inception: they are left out.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
RGB = 3


def model_names() -> list[str]:
    """Names of torchvision's classifiers."""
    from torchvision import models

    return list(models.list_models(module=models))


def build(name: str, task: Task) -> nn.Module:
    """Builds a classifier with random weights.

    Args:
        name: one of `model_names`.
        task: the task.

    Raises:
        ValueError: the architecture does not fit the canvas.
    """
    from torchvision import models

    fields: dict[str, Any] = {}
    if name.startswith("vit_"):  # has a parameter for each patch of the image
        fields["image_size"] = task.canvas
    elif name.startswith("maxvit_"):
        fields["input_size"] = task.size
    elif name in ("googlenet", "inception_v3"):
        fields |= {"aux_logits": False, "init_weights": True}
    model: nn.Module = models.get_model(name, weights=None, num_classes=task.n_classes, **fields)
    if task.channels != RGB:
        _fit_channels(model, task.channels)
    return model


def _fit_channels(model: nn.Module, channels: int) -> None:
    """Makes the first convolution take another number of channels, 1 to 3.

    Its weights keep torchvision's distribution, which depends on the outputs alone.
    """
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    with torch.no_grad():
        first.weight = nn.Parameter(first.weight[:, :channels].clone())
    first.in_channels = channels
