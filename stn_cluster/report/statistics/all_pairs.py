"""All pairs of a column at once, as a table of thousands of cells has millions of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stn_cluster.report.statistics.intervals import Numbers, Wrong
from stn_cluster.report.statistics.methods import T_TEST, Crossed, crossed_from_sums, methods_p
from stn_cluster.report.statistics.paired import (
    MCNEMAR,
    NORMAL,
    SIGN_FLIP,
    base_image_differences,
    mcnemar_p,
    sign_flip_p,
    sign_flip_p_normal,
)
from stn_cluster.report.statistics.questions import Question

MOST_EXACT = 5_000  # pairs of a column up to which the sign-flip test is exact


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every pair of the rows of a column; arrays have an element for each pair."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    p: Numbers
    question: Question
    test: str
    discordant: NDArray[np.int64] | None = None  # images that only one gets (McNemar's test)
    error: Numbers | None = None  # standard error of the difference (sign-flip tests)
    spread: Crossed | None = None  # of the difference (methods)


def pairs_of_networks(rows: Sequence[Wrong]) -> Pairs:
    """Tests every two rows of trained networks: see `compare_networks`.

    Args:
        rows: which images each row's networks get wrong, (seeds, repeats, base images).
    """
    first, second = np.triu_indices(len(rows), 1)
    if all(wrong.shape[:2] == (1, 1) for wrong in rows):
        wrong = np.array([row[0, 0] for row in rows], dtype=np.float32)
        both, each = _whole(wrong @ wrong.T)[first, second], _whole(wrong.sum(axis=1))
        b, c = each[second] - both, each[first] - both
        p = mcnemar_p(b, c)
        return Pairs(first, second, p, Question.NETWORKS, MCNEMAR, discordant=b + c)
    rates = np.array([row.mean(axis=(0, 1)) for row in rows])
    squares = _squares(rates, first, second)
    test = SIGN_FLIP if len(first) <= MOST_EXACT else NORMAL
    if test == SIGN_FLIP:
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        p = np.array([sign_flip_p(base_image_differences(rows[i], rows[j])) for i, j in pairs])
    else:
        sums = rates.sum(axis=1)
        versions = np.lcm.reduce([len(row) for row in rows]) * rows[0].shape[1]
        p = sign_flip_p_normal(sums[second] - sums[first], squares, 1 / float(versions))
    error = np.sqrt(squares) / rates.shape[1]
    return Pairs(first, second, p, Question.NETWORKS, test, error=error)


def pairs_of_methods(rows: Sequence[Wrong]) -> Pairs:
    """Tests every two methods: see `compare_methods`.

    Args:
        rows: which images each method's networks get wrong, (seeds, repeats, base images), of the
            same seeds in the same order.
    """
    first, second = np.triu_indices(len(rows), 1)
    seeds, repeats, images = rows[0].shape
    # Whole numbers, which float32 multiplies exactly.
    counts = np.array([row.sum(axis=1) for row in rows], dtype=np.float32)
    by_seed = counts.sum(axis=2, dtype=float) / (repeats * images)
    differences = by_seed[second] - by_seed[first]
    mean = differences.mean(axis=1)
    common = seeds * images * mean**2
    of_seeds = images * (differences**2).sum(axis=1) - common
    of_images = _squares(counts.sum(axis=1), first, second) / (seeds * repeats**2) - common
    total = _squares(counts.reshape(len(rows), -1), first, second) / repeats**2 - common
    of_seeds, of_images, total = (np.maximum(s, 0.0) for s in (of_seeds, of_images, total))
    spread = crossed_from_sums(mean, of_seeds, of_images, total, seeds, images)
    return Pairs(first, second, methods_p(spread), Question.METHODS, T_TEST, spread=spread)


def _squares(values: Any, first: NDArray[np.intp], second: NDArray[np.intp]) -> Numbers:
    """Sum of squared differences of each pair of rows."""
    products = (values @ values.T).astype(float)
    own = np.diagonal(products)
    found: Numbers = np.maximum(own[first] + own[second] - 2 * products[first, second], 0.0)
    return found


def _whole(values: Any) -> NDArray[np.int64]:
    whole: NDArray[np.int64] = np.rint(values).astype(np.int64)
    return whole
