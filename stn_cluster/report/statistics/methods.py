"""Methods: what their errors are over seeds and images, both drawn at random and crossed.

Every seed's network is tested on the same images, as in studies with several readers of the same
cases, from which the analysis of variance is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from stn_cluster.report.statistics.intervals import (
    Numbers,
    Wrong,
    normal_quantile,
    wilson,
)
from stn_cluster.report.statistics.paired import tango
from stn_cluster.report.statistics.questions import LEVEL, METHOD_SEEDS, Interval, Question

T_TEST = "paired t over seeds and images"
SMALLEST_P = 1e-16
_HALVINGS = 50


@dataclass(frozen=True)
class Crossed:
    """Mean over seeds and base images, and what its variance is made of; numbers, or arrays of
    many pairs."""

    mean: Any
    by_seeds: Any  # variance of the mean by seeds, and by what is left for a seed at an image
    by_images: Any  # variance of the mean by images
    seeds: Any  # number of seeds
    images: int  # number of base images

    @property
    def variance(self) -> Any:
        """Variance of the mean."""
        return self.by_seeds + self.by_images


@dataclass(frozen=True)
class MethodsComparison:
    """Method B less method A, over seeds and images; seeds are paired."""

    seeds: int
    base_images: int
    difference: float  # error of B less error of A
    interval: Interval
    p: float
    spread: Crossed
    test: str = T_TEST
    question: ClassVar[Question] = Question.METHODS


def crossed(values: Numbers) -> Crossed:
    """Analysis of (seeds, base images): see `crossed_from_sums`.

    Raises:
        ValueError: fewer than three seeds: they say nothing about a method.
    """
    seeds, images = values.shape
    mean = values.mean()
    of_seeds = images * ((values.mean(axis=1) - mean) ** 2).sum()
    of_images = seeds * ((values.mean(axis=0) - mean) ** 2).sum()
    total = ((values - mean) ** 2).sum()
    return crossed_from_sums(mean, of_seeds, of_images, total, seeds, images)


def crossed_from_sums(
    mean: Any, of_seeds: Any, of_images: Any, total: Any, seeds: int, images: int
) -> Crossed:
    """Two-way analysis of variance without replication, both factors random.

    The variance of the mean is that of seeds, plus that of images, less what both count. Neither
    component is taken to be less than nothing, so it is never smaller than that of images alone.

    Source: Obuchowski, Rockette 1995, Communications in Statistics 24:285; Gallas 2006, Academic
    Radiology 13:353.

    Args:
        mean: of all.
        of_seeds: sum of squares of the seeds' means, as for each image.
        of_images: sum of squares of the base images' means, as for each seed.
        total: sum of squares about the mean.
        seeds: number of seeds, at least three.
        images: number of base images.

    Raises:
        ValueError: fewer than three seeds: they say nothing about a method.
    """
    if seeds < METHOD_SEEDS:
        raise ValueError(f"{seeds} seeds say nothing about a method: at least {METHOD_SEEDS}")
    rest = np.maximum(total - of_seeds - of_images, 0.0) / ((seeds - 1) * max(1, images - 1))
    by_seed = np.maximum(of_seeds / (seeds - 1), rest)
    by_image = np.maximum(of_images / max(1, images - 1) - rest, 0.0)
    scale = seeds * images
    return Crossed(mean, by_seed / scale, by_image / scale, seeds, images)


def quantile(spread: Crossed, tail: Any) -> Any:
    """Standard errors that the mean exceeds with probability `tail` by chance.

    The quantile of t for the variance that a few seeds estimate, that of the normal for the
    variance that thousands of images estimate, weighted by these variances. Degrees of freedom that
    are estimated too (Satterthwaite, Hillis) do not hold far out in the tails, where corrections
    for many pairs look: by simulation, Holm's familywise error was up to 26 % with them.

    Source: Cochran, Cox 1957, Experimental Designs, section 4.14.

    Args:
        spread: numbers, or arrays of many pairs.
        tail: probability of one tail, 0 to 0.5.
    """
    whole = np.where(spread.variance > 0, spread.variance, 1.0)
    by_seeds = -stdtrit(spread.seeds - 1, tail) * spread.by_seeds
    return (by_seeds - ndtri(tail) * spread.by_images) / whole


def method_error(wrong: Wrong, level: float = LEVEL) -> Interval:
    """Interval of a method's error, over seeds and images.

    It is symmetric in the logarithm of the odds, as seeds change an error in proportion to itself.

    Source: Korn, Graubard 1998, Survey Methodology 24:193; recommended where Wilson's is not by
    Franco, Little, Louis, Slud 2019, Journal of Survey Statistics and Methodology 7:334. The
    variance is that of `crossed_from_sums`, the quantile `quantile`.

    Args:
        wrong: (seeds, repeats, base images), at least three seeds.
        level: of confidence.
    """
    spread = crossed(wrong.mean(axis=1))
    error, variance = float(spread.mean), float(spread.variance)
    if variance == 0:  # no image is wrong, or all are
        low, high = wilson(error, spread.images, normal_quantile(level))
    else:
        half = quantile(spread, (1 - level) / 2) * np.sqrt(variance) / (error * (1 - error))
        low, high = expit(logit(error) - half), expit(logit(error) + half)
    return Interval(float(low), float(high), Question.METHODS, level)


def compare_methods(a: Wrong, b: Wrong, level: float = LEVEL) -> MethodsComparison:
    """Compares methods by networks of the same seeds on the same images.

    A t interval and test of the differences of paired seeds, to whose variance that of images is
    added: see `crossed_from_sums` and `quantile`.

    Args:
        a: which images A's networks get wrong, (seeds, repeats, base images).
        b: those of B, of the same seeds in the same order.
        level: confidence of the interval.

    Raises:
        ValueError: the shapes differ, or there are fewer than three seeds.
    """
    if a.shape != b.shape:
        raise ValueError(f"seeds or images differ: {a.shape} and {b.shape}")
    spread = crossed(b.mean(axis=1) - a.mean(axis=1))
    difference = float(spread.mean)
    if spread.variance > 0:
        half = float(quantile(spread, (1 - level) / 2) * np.sqrt(spread.variance))
        low, high = difference - half, difference + half
    else:  # no image is classified differently by any seed
        low, high = tango(0.0, 0.0, spread.images, level)
    return MethodsComparison(
        seeds=spread.seeds,
        base_images=spread.images,
        difference=difference,
        interval=Interval(low, high, Question.METHODS, level),
        p=float(methods_p(spread)),
        spread=spread,
    )


def methods_p(spread: Crossed) -> Any:
    """Two-sided p-value of no difference between methods; a number or an array.

    Not below `SMALLEST_P`: the level at which the interval just touches 0 is found by bisection.
    """
    variance = np.asarray(spread.variance, dtype=float)
    t = np.abs(spread.mean) / np.sqrt(np.where(variance > 0, variance, 1.0))
    low, high = np.full_like(t, np.log(SMALLEST_P)), np.zeros_like(t)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = quantile(spread, np.exp(middle) / 2) > t
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    return np.where(variance > 0, np.exp(high), 1.0)
