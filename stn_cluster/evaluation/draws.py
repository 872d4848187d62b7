"""The images of a test set, and which of several draws of each counts."""

from __future__ import annotations

import torch
from torch import Tensor

from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distorted_images import DistortedImages, Variation
from stn_cluster.evaluations import EvaluationSet


def drawn_images(
    test: EvaluationSet, dataset: Dataset, device: torch.device, draw: int = 0
) -> DistortedImages:
    """Images of a test set in one of the draws, 0 to `worst_of` - 1.

    Raises:
        UserError: while they are distorted: a plug-in's distortion does not give what it should, or
            does not say how it scales.
    """
    variation = Variation(severity=test.severity, draw=draw, moves=test.moves)
    return DistortedImages(test.cell, dataset, device, variation)


def worst_draws(classes: Tensor, labels: Tensor) -> Tensor:
    """For each image, the draw that counts: the first that is classified wrongly, else draw 0.

    Args:
        classes: (K, N) int64, the predicted class of each image in each draw.
        labels: (N,) int64.

    Returns:
        (N,) int64, 0 to K - 1.
    """
    return (classes != labels).int().argmax(0)  # of equal ones, the first


def worst_classes(classes: Tensor, labels: Tensor) -> Tensor:
    """The classes that are stored of K draws, (N,): the first wrong one, else the right one.

    Args:
        classes, labels: see `worst_draws`.
    """
    return classes.gather(0, worst_draws(classes, labels)[None])[0]
