"""Testing a model on a fixed test set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stn_cluster.data.cache import DistortedTestSet
from stn_cluster.stn.modes import evaluating
from stn_cluster.training.activity import Progressed, no_one
from stn_cluster.training.outcome import MANY_CLASSES, Labels, Predictions

BATCH = 100  # images tested at a time: their activations fit into a core's cache
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


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, progressed: Progressed = no_one) -> Tensor:
    """The most likely class of each image, (N,) int64; the model's mode is restored."""
    with evaluating(model):
        return torch.cat([scores.argmax(1) for scores in _scores(model, images, progressed)])


@torch.no_grad()
def rank(model: nn.Module, images: Tensor, progressed: Progressed = no_one) -> Ranking:
    """The two most likely classes of each image; the first is exactly that of `predict`."""
    with evaluating(model):
        ranked = [_two_likeliest(scores) for scores in _scores(model, images, progressed)]
    return Ranking(*map(torch.cat, zip(*ranked, strict=True)))


def _scores(model: nn.Module, images: Tensor, progressed: Progressed) -> Iterator[Tensor]:
    for batch in torch.split(images, BATCH):
        yield model(batch)
        progressed()


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
    kept = "<u1" if test.n_classes <= MANY_CLASSES else "<u2"
    return Predictions(
        test_set=test.name,
        n_classes=test.n_classes,
        first=_as_bytes(ranking.first, kept),
        second=_as_bytes(ranking.second, kept),
        confidence=_as_bytes(_in_full(ranking.confidence), "<u2"),
        second_confidence=_as_bytes(_in_full(ranking.second_confidence), "<u2"),
    )


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
    """0 to 1 -> 0 to 65,535; NaN, the result of scores that overflowed, becomes 0."""
    return (probabilities.double().nan_to_num(0) * FULL).round()


def _as_bytes(values: Tensor, kind: str) -> bytes:
    return values.cpu().numpy().astype(kind).tobytes()
