"""What comes of training a cell: plain values, without torch."""

from __future__ import annotations

from dataclasses import dataclass

MANY_CLASSES = 256  # beyond it a class needs 16 bits, and nobody keeps the confusion of all


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve."""

    step: int  # steps done
    train_loss: float  # mean cross-entropy since the last point
    lr: float  # of the last step
    test_error: float | None = None  # percent, where evaluated


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The two likeliest classes of each image of a test set, in its order: arrays as bytes.

    Classes are uint8 (or uint16 where there are more than 256 of them), little-endian.
    """

    test_set: str  # its id
    n_classes: int
    first: bytes  # the likeliest class
    second: bytes  # the next
    confidence: bytes  # uint16: the probability of the first by the softmax, in 65,535ths
    second_confidence: bytes


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is true of a test set's images: a function of the data set, not of a cell."""

    test_set: str  # its id
    dataset: str
    revision: str  # of the data set
    repeats: int  # image i is a version of base image i mod (n / repeats)
    classes: bytes  # uint16, little-endian, in the test set's order
    class_names: tuple[str, ...] | None = None  # None: a class is its number


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A cell that ended by itself: it was trained and tested, or its own code failed."""

    key: str
    error: str | None = None  # text of a failure; then the numbers below are those until then
    predictions: Predictions | None = None
    labels: Labels | None = None  # of the test set; left out where they have been told before
    # True class x predicted class, row-major; None above 256 classes.
    confusion: tuple[int, ...] | None = None
    n_test: int | None = None
    n_wrong: int | None = None
    train_loss: float | None = None  # the last curve point's
    parameters: int | None = None  # trainable numbers
    iterations: int = 0  # steps done
    device: str | None = None  # as `device_name` has it
    train_seconds: float = 0.0  # the cell's share of its pack's
    images_per_second: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    weights: bytes | None = None  # a checkpoint of the trained model

    @property
    def error_rate(self) -> float | None:
        """Part of the test images with a wrong prediction, 0 to 1; None without a test."""
        if not self.n_test or self.n_wrong is None:
            return None
        return self.n_wrong / self.n_test

    @property
    def test_error(self) -> float | None:
        """The same in percent."""
        return None if self.error_rate is None else 100 * self.error_rate
