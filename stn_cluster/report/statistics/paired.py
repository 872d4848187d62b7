"""Two trained networks (or two sets of them) on the same test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr

from stn_cluster.report.statistics.intervals import Numbers, Wrong, normal_quantile
from stn_cluster.report.statistics.questions import LEVEL, Interval, Question

MCNEMAR = "exact McNemar"
SIGN_FLIP = "exact sign-flip by base image"
NORMAL = "normal approximation of the sign-flip test by base image"
_HALVINGS = 60  # of an interval of length 1: to the precision of float64


@dataclass(frozen=True)
class NetworksComparison:
    """Trained networks B less trained networks A; says nothing about how they were trained."""

    n: int  # test images
    base_images: int
    b: int  # images that A gets and B does not (with several seeds: that A gets more often)
    c: int  # images that B gets and A does not
    difference: float  # error of B less error of A
    interval: Interval
    p: float
    test: str
    question: ClassVar[Question] = Question.NETWORKS


def compare_networks(a: Wrong, b: Wrong, level: float = LEVEL) -> NetworksComparison:
    """Compares trained networks on the same images: how B's error differs from A's.

    Args:
        a: which images the networks of A get wrong, (seeds, repeats, base images).
        b: those of B; the numbers of seeds may differ.
        level: confidence of the interval.

    Raises:
        ValueError: they were not tested on the same number of images.
    """
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"images differ: {a.shape[1:]} and {b.shape[1:]}")
    _, repeats, base_images = a.shape
    by_image = b.mean(axis=0) - a.mean(axis=0)
    single = a.shape[0] == b.shape[0] == repeats == 1
    return NetworksComparison(
        n=repeats * base_images,
        base_images=base_images,
        b=int((by_image > 0).sum()),
        c=int((by_image < 0).sum()),
        difference=float(by_image.mean()),
        interval=_interval(by_image, max(len(a), len(b)), level),
        p=sign_flip_p(base_image_differences(a, b)),
        test=MCNEMAR if single else SIGN_FLIP,
    )


def base_image_differences(a: Wrong, b: Wrong) -> NDArray[np.int64]:
    """Difference of each base image in whole numbers, (base images,): B's errors less A's."""
    of_a, of_b = (wrong.sum(axis=(0, 1), dtype=np.int64) for wrong in (a, b))
    differences: NDArray[np.int64] = of_b * len(a) - of_a * len(b)
    return differences


def mcnemar_p(b: Any, c: Any) -> Any:
    """P-value of the exact two-sided McNemar test, for numbers or arrays of discordant counts.

    Source: McNemar 1947, Psychometrika 12:153, with the binomial distribution; for classifiers,
    Dietterich 1998, Neural Computation 10:1895.
    """
    b, c = np.asarray(b, dtype=np.int64), np.asarray(c, dtype=np.int64)
    return np.minimum(1.0, 2 * bdtr(np.minimum(b, c).astype(float), b + c, 0.5))


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """P-value of the exact two-sided sign-flip (Fisher-Pitman) test of differences by base image.

    If A and B are alike, each base image's difference might as well have the opposite sign. The
    distribution of the sum over all signs is computed, not drawn. Differences that are all 1, 0 or
    -1 give exactly McNemar's test.

    Source: Fisher 1935, The Design of Experiments, section 21; Pitman 1937, JRSS Supplement 4:119.

    Args:
        differences: whole numbers, (base images,).
    """
    sizes = np.abs(differences[differences != 0])
    if not len(sizes):
        return 1.0
    unit = int(np.gcd.reduce(sizes))
    sizes = sizes // unit
    if sizes.max() == 1:
        positive = int((differences > 0).sum())
        return float(mcnemar_p(positive, len(sizes) - positive))
    total, observed = int(sizes.sum()), abs(int(differences.sum())) // unit
    if observed == 0:
        return 1.0
    # The sum of those with a plus sign, up to the largest one that is as extreme as the observed.
    chances = np.zeros((total - observed) // 2 + 1)
    chances[0] = 1.0
    for size in sizes[sizes < len(chances)]:
        chances[size:] += chances[:-size]
        chances /= 2
    chances *= 0.5 ** float((sizes >= len(chances)).sum())
    return float(min(1.0, 2 * chances.sum()))


def sign_flip_p_normal(sums: Any, squares: Any, unit: float = 1.0) -> Any:
    """P-value of the sign-flip test by its normal approximation, for very many pairs.

    With the continuity correction: sums are two units apart.

    Source: Pitman 1937, see `sign_flip_p`.

    Args:
        sums: sum of the differences of each pair, a number or an array.
        squares: sum of their squares.
        unit: the differences are multiples of this.
    """
    squares = np.asarray(squares, dtype=float)
    z = np.maximum(np.abs(sums) - unit, 0.0) / np.sqrt(np.where(squares > 0, squares, 1.0))
    return 2 * ndtr(-z)


def tango(b: float, c: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Tango's score interval of the difference (b - c) / n of two paired proportions.

    It is the set of differences that McNemar's score test does not reject, so that without
    discordant images it still has a width.

    Source: Tango 1998, Statistics in Medicine 17:891; compared with others by Fagerland, Lydersen,
    Laake 2014, Statistics in Medicine 33:2850.

    Args:
        b: images that only A gets; may be an effective number, as the others.
        c: images that only B gets.
        n: images.
        level: of confidence.
    """
    critical = normal_quantile(level)
    estimate = (b - c) / n

    def end(outer: float, sign: float) -> float:
        inner = estimate  # where the statistic is 0
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            inside = sign * _score(middle, b, c, n) < critical
            inner, outer = (middle, outer) if inside else (inner, middle)
        return (inner + outer) / 2

    return float(end(-1.0, 1.0)), float(end(1.0, -1.0))


def _score(delta: float, b: float, c: float, n: float) -> float:
    """Tango's score statistic of a difference; it falls as the difference grows."""
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    root = np.sqrt(max(linear**2 - 8 * n * constant, 0.0))
    share = (root - linear) / (4 * n)  # of images that only B gets, given the difference
    variance = n * (2 * share + delta * (1 - delta))
    excess = b - c - n * delta
    if excess == 0:
        return 0.0
    return float(excess / np.sqrt(variance)) if variance > 0 else float(np.copysign(np.inf, excess))


def _interval(by_image: Numbers, networks: int, level: float) -> Interval:
    """Tango's interval, with the effective number of images (Rao, Scott 1992).

    Args:
        by_image: difference at each image, (repeats, base images).
        networks: number of networks on a side, which are versions of a base image too.
        level: of confidence.
    """
    repeats, base_images = by_image.shape
    only_a, only_b = np.maximum(by_image, 0).mean(), np.maximum(-by_image, 0).mean()
    variance = float(by_image.mean(axis=0).var())
    independent = float(only_a + only_b - by_image.mean() ** 2)
    versions = repeats * networks
    n = float(base_images)
    if versions > 1 and variance > 0:
        n = float(np.clip(independent / variance * n, n, n * versions))
    low, high = tango(only_a * n, only_b * n, n, level)
    return Interval(low, high, Question.NETWORKS, level)
