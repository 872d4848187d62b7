"""Numbers without the rounding errors of their last two bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT = 12  # significant digits of a number that may stand for one with 17


def shortest(number: float | np.floating[Any]) -> float:
    """The number without the rounding errors of its last two bits: 3.22 for 3.2199999999999998.

    Args:
        number: finite; a float32 becomes the shortest number that is nearest to it.
    """
    exact = float(number) if isinstance(number, float) else float(str(number))
    short = float(f"{exact:.{_SHORT}g}")
    return short if abs(short - exact) <= 2 * math.ulp(exact) else exact


def shortest_of(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """`shortest` of each number; missing and infinite ones stay."""
    found = numbers.copy()
    with np.errstate(all="ignore"):
        size = np.abs(numbers)
        digits = size * 10.0 ** (_SHORT - 1 - np.floor(np.log10(size)))
        far = np.abs(digits - np.rint(digits)) > 0.01  # of the last of the short number's digits
        far &= (size > 1e-100) & (size < 1e100)  # so that `digits` is exact enough to tell
    for place in np.flatnonzero(~far & np.isfinite(numbers)):
        found[place] = shortest(float(numbers[place]))
    return found
