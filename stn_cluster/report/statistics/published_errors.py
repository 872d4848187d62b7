"""An error of ours against a published one, of which only a rounded number is known."""

from __future__ import annotations

import numpy as np

from stn_cluster.report.statistics.intervals import normal_quantile, wilson
from stn_cluster.report.statistics.questions import LEVEL, Interval

PUBLISHED_IMAGES = 10_000  # MNIST's test images
ROUNDING = 0.0005  # published percentages have one decimal


def against_published(
    error: float,
    interval: Interval,
    published: float,
    n: int = PUBLISHED_IMAGES,
    rounding: float = ROUNDING,
    level: float = LEVEL,
) -> Interval:
    """Interval of our error less a published one: its binomial error and its rounding.

    There is no test, least of all a paired one: nobody knows the published network's predictions,
    nor the spread of its seeds.

    Source: the interval of a difference from two of proportions, Newcombe 1998, Statistics in
    Medicine 17:873, method 10; the widest over all values that are rounded to the published one.

    Args:
        error: ours, 0 to 1.
        interval: of ours.
        published: the published one, 0 to 1.
        n: number of test images behind it.
        rounding: half a unit of its last digit.
        level: of confidence.
    """
    ends = []
    for other in np.clip([published - rounding, published + rounding], 0.0, 1.0):
        low, high = wilson(other, n, normal_quantile(level))
        ends.append(error - other - np.hypot(error - interval.low, high - other))
        ends.append(error - other + np.hypot(interval.high - error, other - low))
    return Interval(float(min(ends)), float(max(ends)), interval.question, level)
