"""Outcomes of training a cell: plain values, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What an evaluation measures beside the classes: columns of the store's `evaluations`.
MEASURES = (
    "ink_lost",
    *(
        f"{whose}_{what}"
        for whose in ("pose", "identity")
        for what in ("degrees", "log2_scale", "shift_px", "residual_px")
    ),
)
MANY_CLASSES = 256  # with more, a class needs 16 bits, and the confusion matrix is not stored


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve."""

    step: int  # steps done
    train_loss: float  # mean cross-entropy since the last point
    lr: float  # learning rate of the last step
    test_error: float | None = None  # percent, if evaluated


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The two most likely classes of each image of a test set, in its order: arrays as bytes.

    Classes are uint8 (uint16 if there are more than 256), little-endian.
    """

    test_set: str  # its id
    n_classes: int
    first: bytes  # most likely class
    # Empty, like the next two, for an evaluation.
    second: bytes  # second most likely class
    confidence: bytes  # uint16: softmax probability of the first class, in 65,535ths
    second_confidence: bytes


@dataclass(frozen=True, kw_only=True)
class Labels:
    """True classes of a test set's images: they depend on the data set, not on a cell."""

    test_set: str  # its id
    dataset: str
    revision: str  # revision of the data set
    repeats: int  # image i is a version of base image i mod (n / repeats)
    classes: bytes  # uint16, little-endian, in the test set's order
    class_names: tuple[str, ...] | None = None  # None: a class is its number


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of a cell that was trained and tested, or of an evaluation, or of their failure."""

    key: str  # of the cell or the evaluation
    error: str | None = None  # text of a failure; the numbers below are then those until it
    predictions: Predictions | None = None
    labels: Labels | None = None  # labels of the test set; None if they were reported before
    # True class x predicted class, row-major; None above 256 classes.
    confusion: tuple[int, ...] | None = None
    n_test: int | None = None
    n_wrong: int | None = None
    train_loss: float | None = None  # training loss of the last curve point
    parameters: int | None = None  # number of trainable parameters
    iterations: int | None = 0  # steps done; None, like the next: of a model that was not trained
    device: str | None = None  # see `device_name`
    train_seconds: float | None = 0.0  # the cell's share of its pack's time
    images_per_second: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    weights: bytes | None = None  # a checkpoint of the trained model
    measures: Mapping[str, float | None] = field(default_factory=dict)  # see `MEASURES`

    @property
    def error_rate(self) -> float | None:
        """Fraction of the test images with a wrong prediction, 0 to 1; None without a test."""
        if not self.n_test or self.n_wrong is None:
            return None
        return self.n_wrong / self.n_test

    @property
    def test_error(self) -> float | None:
        """`error_rate` in percent."""
        return None if self.error_rate is None else 100 * self.error_rate
