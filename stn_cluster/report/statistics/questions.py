"""The two questions that a comparison can answer, and intervals that say which one they answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LEVEL = 0.95  # of intervals
ALPHA = 0.05  # of tests
METHOD_SEEDS = 3  # seeds from which on something can be said about methods


class Question(StrEnum):
    """What a number would be the same about, if the experiment were repeated."""

    NETWORKS = "networks"  # the same trained networks, on other images of the same kind
    METHODS = "methods"  # networks trained anew, with other seeds, on other images

    @property
    def words(self) -> str:
        """The question for people: 'these trained networks'."""
        return {"networks": "these trained networks", "methods": "these methods"}[self.value]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of an error (0 to 1), or of a difference of two (-1 to 1)."""

    low: float
    high: float
    question: Question
    level: float = LEVEL

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high
