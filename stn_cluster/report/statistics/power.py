"""What can be seen: the smallest differences, and the seeds that open pairs would need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import bdtr

from stn_cluster.report.statistics.methods import Crossed, quantile
from stn_cluster.report.statistics.questions import ALPHA, METHOD_SEEDS

POWER = 0.8
_MOST_SEEDS = 200
_HALVINGS = 50


def smallest_significant(discordant: int, n: int, alpha: float = ALPHA) -> float | None:
    """Smallest difference of two networks that the exact McNemar test finds significant.

    Args:
        discordant: images that only one of the two networks gets.
        n: test images.
        alpha: level of the test.

    Returns:
        Proportion of the images; None if so few discordant images are never significant.
    """
    fewer = _critical(discordant, alpha)
    return None if fewer is None else (discordant - 2 * fewer) / n


def detectable(discordant: int, n: int, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """True difference of two networks that the exact McNemar test finds with probability `power`.

    Source: conditional power, Miettinen 1968, Biometrics 24:339.

    Args:
        discordant: images that only one of the two networks gets.
        n: test images.
        alpha: level of the test.
        power: probability of a significant result.

    Returns:
        Proportion of the images; None if there is no such difference.
    """
    fewer = _critical(discordant, alpha)
    if fewer is None:
        return None

    def found(share: float) -> float:
        lower = bdtr(float(fewer), discordant, share)
        return float(lower + bdtr(float(fewer), discordant, 1 - share))

    low, high = 0.5, 1.0  # share of the discordant images that the better one gets
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return discordant * (2 * high - 1) / n


def _critical(discordant: int, alpha: float) -> int | None:
    """Largest smaller count that is significant, or None."""
    counts = np.arange(discordant // 2 + 1)
    significant = counts[2 * bdtr(counts.astype(float), discordant, 0.5) <= alpha]
    return int(significant[-1]) if len(significant) else None


def seeds_needed(
    spread: Crossed, alpha: float = ALPHA, power: float = POWER, most: int = _MOST_SEEDS
) -> int | None:
    """Number of seeds at which a pair of methods would be separated with probability `power`.

    It takes the observed difference and variances for the true ones. Seeds reduce the variance of
    seeds alone, not that of images.

    Source: the usual sum of two quantiles, as in Cohen 1988, Statistical Power Analysis, chapter 2,
    with the variance of `crossed_from_sums`.

    Args:
        spread: analysis of the pair's differences.
        alpha: level of the test, after correction for the other pairs.
        power: probability of a significant result.
        most: number of seeds that is not exceeded.

    Returns:
        None if even `most` seeds would not do: it takes more images.
    """
    if float(spread.mean) == 0 or float(spread.variance) == 0:
        return None
    seeds = np.arange(METHOD_SEEDS, most + 1)
    expected = replace(spread, by_seeds=spread.by_seeds * spread.seeds / seeds, seeds=seeds)
    quantiles = quantile(expected, alpha / 2) + quantile(expected, 1 - power)
    enough = seeds[abs(float(spread.mean)) >= quantiles * np.sqrt(expected.variance)]
    return int(enough[0]) if len(enough) else None
