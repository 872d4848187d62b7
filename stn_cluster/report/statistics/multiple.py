"""Corrections for many tests at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from stn_cluster.report.statistics.intervals import Numbers
from stn_cluster.report.statistics.questions import LEVEL


def holm(p: Numbers) -> Numbers:
    """P-values such that rejecting those up to alpha errs anywhere with at most that probability.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65. Tests may depend on each other.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _in_place(np.minimum(adjusted, 1.0), order)


def benjamini_hochberg(p: Numbers) -> Numbers:
    """P-values such that of those up to alpha at most that share are expected to be wrong.

    Source: Benjamini, Hochberg 1995, JRSS B 57:289; for exploration, and for tests that are
    independent or depend on each other positively.
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    return _in_place(np.minimum(adjusted, 1.0), order)


def bonferroni_level(comparisons: int, level: float = LEVEL) -> float:
    """Confidence of each of several intervals that hold all at once with confidence `level`.

    Source: Dunn 1961, JASA 56:52.
    """
    return 1 - (1 - level) / max(1, comparisons)


def _in_place(ordered: Numbers, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Numbers:
    values = np.empty_like(ordered)
    values[order] = ordered
    return values


CORRECTIONS: Mapping[str, Callable[[Numbers], Numbers]] = MappingProxyType(
    {"holm": holm, "benjamini-hochberg": benjamini_hochberg}
)
CORRECTION_NAMES: Mapping[str, str] = MappingProxyType(
    {"holm": "Holm's correction", "benjamini-hochberg": "Benjamini and Hochberg's correction"}
)
