"""What comes of training a cell: plain values, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve."""

    step: int  # steps done
    train_loss: float  # mean cross-entropy since the last point
    lr: float  # of the last step
    test_error: float | None = None  # percent, where evaluated


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A cell that ended by itself: it was trained and tested, or its own code failed."""

    key: str
    error: str | None = None  # text of a failure; then the numbers below are those until then
    predictions: bytes | None = None  # uint8 class of each test image
    confusion: tuple[int, ...] | None = None  # true class x predicted class, row-major
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
