"""Ranks within a column, with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stn_cluster.report.statistics.intervals import Numbers
from stn_cluster.report.statistics.questions import LEVEL, Question

DRAWS = 2000


@dataclass(frozen=True)
class RankInterval:
    """Rank (1 is the best; those that are equal share the better one) and its interval."""

    rank: int
    low: int
    high: int
    question: Question


def rank_intervals(
    rates: Numbers, question: Question, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> list[RankInterval]:
    """Ranks of the entries of a column, with percentile intervals of a bootstrap.

    Base images are drawn with replacement, for all entries the same; for methods, independently of
    them, seeds too.

    Source: Efron 1979, Annals of Statistics 7:1; ranks, Goldstein, Spiegelhalter 1996, JRSS A
    159:385; two crossed factors, Owen 2007, Annals of Applied Statistics 1:386.

    Args:
        rates: (entries, seeds, base images) proportion of versions that are classified wrongly.
        question: for trained networks, the mean over their seeds is compared.
        level: of confidence.
        draws: number of bootstrap samples.
        seed: of the drawing.
    """
    if question is Question.NETWORKS:
        rates = rates.mean(axis=1, keepdims=True)
    _, seeds, images = rates.shape
    # Images that all entries have the same share of errors in do not affect ranks.
    differing = (rates != rates[:1, :1]).any(axis=(0, 1))
    values = rates[:, :, differing]
    chances = np.full(values.shape[2] + 1, 1 / images)
    chances[-1] = max(0.0, 1 - chances[:-1].sum())
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(images, chances, size=draws)[:, :-1].astype(float)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    errors = sum(weights[:, s, None] * (counts @ values[:, s].T) for s in range(seeds))
    drawn = _ranks(np.asarray(errors))
    observed = _ranks(values.mean(axis=1).sum(axis=1)[None])[0]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn, tails, axis=0, method="inverted_cdf")
    return [
        RankInterval(int(rank), int(min(rank, below)), int(max(rank, above)), question)
        for rank, below, above in zip(observed, low, high, strict=True)
    ]


def _ranks(errors: Numbers) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Ranks within each row; sums that differ by rounding alone are equal."""
    rounded = np.round(errors, 9)
    ordered = np.sort(rounded, axis=1)
    found = [np.searchsorted(row, values) for row, values in zip(ordered, rounded, strict=True)]
    return np.asarray(found, dtype=np.int64) + 1
