"""A distortion, a data set and a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stn_cluster import register_dataset, register_distortion, register_recipe
from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distortions import Distortion
from stn_cluster.recipes import Recipe


class Flip:
    """Mirrored left to right, or not. Parameter: 1 or 0."""

    def __init__(self, canvas: int) -> None:
        self.canvas = canvas

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, 2, (n, 1)).astype(np.float32)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return torch.where(parameters[:, :, None, None] > 0, images.flip(-1), images)


@register_distortion("F")
def flip(variant: str, canvas: int) -> Distortion:
    """F: mirrored half of the time."""
    return Flip(canvas)


@register_dataset("bars")
def bars(root: Path | None) -> Dataset:
    """Two classes: an upright bar and a lying one."""
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[0, 4:24, 13:15] = 255
    images[1, 13:15, 4:24] = 255
    labels = torch.tensor([0, 1])
    many, many_labels = images.repeat(50, 1, 1), labels.repeat(50)
    return Dataset(many, many_labels, images, labels, n_classes=2, test_repeats=7)


@register_recipe("tiny")
def tiny() -> Recipe:
    """Enough for two bars."""
    return Recipe(
        iterations=60, batch_size=20, optimizer="adamw", learning_rate=0.01, schedule="constant"
    )
