"""A plug-in for tests: components that may hang wherever a user's own code runs.

`at` is called with each place; a test replaces it, or names the place that is to hang.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from stn_cluster import register_dataset, register_distortion, register_model
from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distortions import Distortion
from stn_cluster.stn.models import Task

VARIABLE = "STN_CLUSTER_TEST_HANGS"  # the place, and a file that is made there: 'loading:/tmp/x'


def hang(place: str) -> None:
    """Waits for a lock that nobody releases, if it is this place."""
    where, _, marker = os.environ.get(VARIABLE, "").partition(":")
    if where == place:
        Path(marker).touch()
        threading.Event().wait()


at: Callable[[str], None] = hang


# Steps of each model: kept here, as a step that changes an attribute is never replayed.
_steps: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


class Linear(nn.Module):
    """Computes scores directly from the pixels."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        at("building")
        self.scores = nn.Linear(task.canvas**2, task.n_classes)

    def forward(self, images: Tensor) -> Tensor:
        _steps[self] = _steps.get(self, 0) + self.training
        if _steps[self] > 2 or not self.training:
            at("training" if self.training else "testing")
        scores: Tensor = self.scores(images.flatten(1))
        return scores


@register_model("Hangs")
class Hangs(Linear):
    """May hang."""


class Slid:
    """Moved to the right by 0 or 1 pixels."""

    def __init__(self, canvas: int) -> None:
        self.canvas = canvas

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        at("drawing")
        return rng.integers(0, 2, (n, 1)).astype(np.float32)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        at("distorting")
        return torch.where(parameters[:, :, None, None] > 0, images.roll(1, -1), images)


@register_distortion("Slid")
def slid(variant: str, canvas: int) -> Distortion:
    """Slid: moved by up to a pixel."""
    return Slid(canvas)


@register_dataset("dots")
def dots(root: Path | None) -> Dataset:
    """Two classes: a dot above and one below."""
    at("loading")
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[0, 4:8, 12:16] = images[1, 20:24, 12:16] = 255
    labels = torch.tensor([0, 1])
    return Dataset(
        images.repeat(50, 1, 1), labels.repeat(50), images, labels, n_classes=2, test_repeats=700
    )
