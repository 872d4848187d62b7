"""Testing a model on a fixed test set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stn_cluster.data.cache import DistortedTestSet
from stn_cluster.data.distorted_images import DistortedImages, in_batches
from stn_cluster.grid import Cell
from stn_cluster.stn.modes import evaluating
from stn_cluster.training.activity import Progressed, no_one
from stn_cluster.training.checked_model import CheckedModel
from stn_cluster.training.outcome import MANY_CLASSES, Labels, Predictions

BATCH = 100  # images tested at a time: the activations of small ones fit into a core's cache
BATCH_NUMBERS = BATCH * 128**2  # most numbers of the images tested at a time
FULL = 65_535  # stored value of a probability of 1


@dataclass(frozen=True)
class Ranking:
    """The two most likely classes of each image, (N,) int64, with probabilities, (N,) float32.

    Of equally likely classes, the lower one comes first.
    """

    first: Tensor
    second: Tensor
    confidence: Tensor
    second_confidence: Tensor


class NotFiniteError(RuntimeError):
    """The loss, or a score of a test image, is infinite or not a number."""


@torch.no_grad()
def predict(
    model: CheckedModel, images: Tensor | DistortedImages, progressed: Progressed = no_one
) -> Tensor:
    """The most likely class of each image, (N,) int64; the model's mode is restored.

    Raises:
        NotFiniteError: an image has a score that is not finite, so that none is the largest.
    """
    return torch.cat([scores.argmax(1) for scores in _scores(model, images, progressed)])


@torch.no_grad()
def rank(
    model: CheckedModel, images: Tensor | DistortedImages, progressed: Progressed = no_one
) -> Ranking:
    """The two most likely classes of each image; the first is exactly that of `predict`.

    Raises:
        NotFiniteError: see `predict`.
    """
    ranked = [_two_likeliest(scores) for scores in _scores(model, images, progressed)]
    return Ranking(*map(torch.cat, zip(*ranked, strict=True)))


def _scores(
    model: CheckedModel, images: Tensor | DistortedImages, progressed: Progressed
) -> Iterator[Tensor]:
    """Scores of the images of one batch after another, (n, classes).

    Raises:
        NotFiniteError: after the last batch, if any score was not finite.
    """
    wrong = []
    with evaluating(model.module):
        for batch in in_batches(images, batch_size(images.shape)):
            scores = model(batch)
            wrong.append((~scores.isfinite().all(1)).sum())
            progressed()
            yield scores
    if count := int(torch.stack(wrong).sum()):
        raise NotFiniteError(
            f"{model.name} gave scores that are not finite (infinite, or not a number) for "
            f"{count:,} of {len(images):,} test images"
        )


def batch_size(shape: Sequence[int]) -> int:
    """Number of images of a shape (N, C, H, W) that are tested at a time."""
    return max(1, min(BATCH, BATCH_NUMBERS // torch.Size(shape[1:]).numel()))


def _two_likeliest(scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    first = scores.argmax(1)
    second = scores.scatter(1, first[:, None], -torch.inf).argmax(1)
    both = scores.softmax(1).gather(1, torch.stack([first, second], 1))
    return first, second, both[:, 0], both[:, 1]


def count_wrong(classes: Tensor, labels: Tensor) -> int:
    """Number of predictions that differ from the label."""
    return int((classes != labels).sum())


def confusion(classes: Tensor, test: DistortedTestSet) -> tuple[int, ...] | None:
    """Counts by true and predicted class, row-major (n_classes squared); None above 256 classes."""
    n = test.n_classes
    if n > MANY_CLASSES:
        return None
    return tuple(torch.bincount(test.labels * n + classes, minlength=n * n).tolist())


def as_predictions(ranking: Ranking, test: DistortedTestSet) -> Predictions:
    """A ranking of a test set's images as plain values."""
    return Predictions(
        test_set=test.name,
        n_classes=test.n_classes,
        first=classes_as_bytes(ranking.first, test.n_classes),
        second=classes_as_bytes(ranking.second, test.n_classes),
        confidence=_as_bytes(_in_full(ranking.confidence), "<u2"),
        second_confidence=_as_bytes(_in_full(ranking.second_confidence), "<u2"),
    )


def classes_as_bytes(classes: Tensor, n_classes: int) -> bytes:
    """Classes as `Predictions` has them."""
    return _as_bytes(classes, "<u1" if n_classes <= MANY_CLASSES else "<u2")


def as_labels(test: DistortedTestSet, dataset: str, revision: int | str) -> Labels:
    """A test set's labels as plain values."""
    return Labels(
        test_set=test.name,
        dataset=dataset,
        revision=str(revision),
        repeats=test.repeats,
        classes=_as_bytes(test.labels, "<u2"),
        class_names=test.class_names,
    )


def _in_full(probabilities: Tensor) -> Tensor:
    """0 to 1 -> 0 to 65,535."""
    return (probabilities.double() * FULL).round()


def _as_bytes(values: Tensor, kind: str) -> bytes:
    numbers = values.cpu().numpy()
    kept = numbers.astype(kind)
    if not (kept == numbers).all():  # otherwise class 300 would be stored as 44
        raise ValueError(f"numbers from {numbers.min()} to {numbers.max()} do not fit in {kind}")
    return kept.tobytes()


def tested(cell: Cell, ranking: Ranking, test: DistortedTestSet) -> dict[str, Any]:
    """Fields of the outcome of a cell whose model was tested."""
    revision = cell.revisions[f"dataset:{cell.dataset}"]
    return {
        "predictions": as_predictions(ranking, test),
        "labels": as_labels(test, cell.dataset, revision),
        "confusion": confusion(ranking.first, test),
        "n_test": len(test.labels),
        "n_wrong": count_wrong(ranking.first, test.labels),
    }
