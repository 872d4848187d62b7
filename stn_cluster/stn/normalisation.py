"""Normalisation of a model's input, inside the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Normalise:
    """Subtracts the mean from images and divides them by the standard deviation.

    Args:
        mean, std: one number each, or one for each channel.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._constants = torch.tensor([mean, std]).view(2, 1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), a new tensor."""
        if self._constants.device != images.device:  # copied once: a captured step may not
            self._constants = self._constants.to(images.device)
        mean, std = self._constants.unbind()
        return (images - mean) / std


def normalise_input(model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Makes a model normalise its input; the names of its weights stay."""
    normalise = Normalise(mean, std)

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (normalise(inputs[0]), *inputs[1:])

    model.register_forward_pre_hook(hook)
