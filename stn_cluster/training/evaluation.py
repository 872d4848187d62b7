"""Testing a model on a fixed test set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cluster.data.prepared import LabelledImages
from stn_cluster.stn.modes import evaluating

BATCH = 100  # images tested at a time: what they are in between fits a core's cache


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The most likely class of each image, (N,) int64; the model's mode is left as it was."""
    with evaluating(model):
        return torch.cat([model(batch).argmax(1) for batch in torch.split(images, BATCH)])


def count_wrong(classes: Tensor, labels: Tensor) -> int:
    """How many predictions differ from the label."""
    return int((classes != labels).sum())


def confusion(classes: Tensor, test: LabelledImages) -> tuple[int, ...]:
    """Counts by true and predicted class, row-major (n_classes squared)."""
    n = test.n_classes
    return tuple(torch.bincount(test.labels * n + classes, minlength=n * n).tolist())
