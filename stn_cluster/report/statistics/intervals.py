"""Intervals of one error on a sample of test images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from stn_cluster.report.statistics.questions import LEVEL, Interval, Question

Wrong = NDArray[np.bool_]  # (seeds, repeats, base images): which images are classified wrongly
Numbers = NDArray[np.float64]


def normal_quantile(level: float) -> float:
    """Half-width of the central interval of a standard normal: 1.96 for 0.95."""
    return float(ndtri((1 + level) / 2))


def wilson(error: Any, n: Any, critical: Any) -> tuple[Any, Any]:
    """Wilson's score interval of a proportion: its low and its high end.

    Source: Wilson 1927, JASA 22:209; recommended by Brown, Cai, DasGupta 2001, Statistical Science
    16:101.

    Args:
        error: observed proportion, 0 to 1; a number or an array, as the others.
        n: number of independent images; may be an effective one, which need not be whole.
        critical: quantile of the normal (or t) distribution: `normal_quantile`.
    """
    z2 = critical**2 / n
    centre = (error + z2 / 2) / (1 + z2)
    half = np.sqrt(z2 * (error * (1 - error) + z2 / 4)) / (1 + z2)
    # Without an error, or with errors alone, an end is 0 or 1: rounding would come near it.
    low = np.where(error == 0, 0.0, np.maximum(centre - half, 0.0))
    return low, np.where(error == 1, 1.0, np.minimum(centre + half, 1.0))


def effective_n(rates: Numbers, versions: int) -> float:
    """Number of independent images that would give the mean of `rates` the same variance.

    Source: the design effect of clusters, Kish 1965, Survey Sampling, section 8.2; its use for
    clustered proportions, Rao, Scott 1992, Biometrics 48:577.

    Args:
        rates: (base images,) proportion of each one's versions that are classified wrongly.
        versions: how many versions each base image has: repeats times networks.

    Returns:
        Between the number of base images (all versions alike) and that of all versions
        (independent). Without any error, or with errors alone, nothing shows how alike versions
        are: then the number of base images.
    """
    mean, variance = float(rates.mean()), float(rates.var())
    if versions == 1 or variance == 0:
        return float(len(rates))
    effective = mean * (1 - mean) / variance * len(rates)
    return float(np.clip(effective, len(rates), len(rates) * versions))


def clustered_quantile(rates: Numbers, versions: int, level: float) -> float:
    """Quantile for `effective_n`, which is estimated too, and badly where errors are few.

    That of t with the degrees of freedom of the variance between base images, which follow from
    its fourth moment; with one version each, nothing but the error is estimated: the normal's.

    Source: Satterthwaite 1946, Biometrics Bulletin 2:110.

    Args:
        rates, versions: see `effective_n`.
        level: of confidence.
    """
    squares = (rates - rates.mean()) ** 2
    if versions == 1 or not squares.any():
        return normal_quantile(level)
    spread = float((squares**2).mean() / squares.mean() ** 2) - 1  # kurtosis less 1
    df = max(1.0, 2 * len(rates) / spread) if spread > 0 else np.inf
    return float(stdtrit(min(df, 1e9), (1 + level) / 2))


def networks_error(wrong: Wrong, level: float = LEVEL) -> Interval:
    """Interval of the mean error of these trained networks, over images.

    Wilson's interval, with `effective_n` and `clustered_quantile` where base images have several
    versions or there are several networks.

    Args:
        wrong: (seeds, repeats, base images), see `Wrong`.
        level: of confidence.
    """
    seeds, repeats, _ = wrong.shape
    rates = wrong.mean(axis=(0, 1))
    n = effective_n(rates, seeds * repeats)
    critical = clustered_quantile(rates, seeds * repeats, level)
    low, high = wilson(float(rates.mean()), n, critical)
    return Interval(float(low), float(high), Question.NETWORKS, level)
