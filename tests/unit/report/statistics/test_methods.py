"""Methods over seeds and images: against scipy and statsmodels, and where nothing can be said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from stn_cluster.report.statistics.methods import (
    SMALLEST_P,
    compare_methods,
    crossed,
    method_error,
    methods_p,
    quantile,
)
from stn_cluster.report.statistics.questions import Question


def test_the_variance_is_that_of_statsmodels_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    seeds, images = 4, 12
    values = (
        rng.normal(size=(seeds, images)) + rng.normal(size=images) + rng.normal(size=(seeds, 1))
    )
    frame = pd.DataFrame(
        {"y": values.ravel(), "s": np.repeat(range(seeds), images), "i": [*range(images)] * seeds}
    )
    table = anova_lm(ols("y ~ C(s) + C(i)", frame).fit())
    by_seed, by_image, rest = table["mean_sq"]
    spread = crossed(values)
    assert spread.mean == pytest.approx(values.mean())
    assert by_seed > rest
    assert by_image > rest
    assert spread.variance == pytest.approx((by_seed + by_image - rest) / (seeds * images))
    assert spread.by_seeds == pytest.approx(by_seed / (seeds * images))


def test_without_variance_of_images_it_is_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.random((6, 1, 5000)) < p for p in ([[[0.02]], [[0.05]]]))
    a[:3], b[:3] = rng.random((3, 1, 5000)) < 0.04, rng.random((3, 1, 5000)) < 0.05
    found = compare_methods(a, b)
    assert found.spread.by_images < found.spread.by_seeds / 50
    theirs = stats.ttest_rel(b.mean(axis=(1, 2)), a.mean(axis=(1, 2)))
    assert found.p == pytest.approx(theirs.pvalue, rel=0.2)
    ends = theirs.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (ends.low, ends.high), rel=0.1
    )


def test_between_seeds_and_images_the_quantile_is_between_those_of_t_and_normal() -> None:
    by_seeds = crossed(np.array([[1.0] * 9, [2.0] * 9, [3.5] * 9]))
    assert quantile(by_seeds, 0.025) == pytest.approx(stats.t.ppf(0.975, 2))
    by_images = crossed(np.tile(np.arange(9.0), (3, 1)))
    assert quantile(by_images, 0.025) == pytest.approx(stats.norm.ppf(0.975))
    both = crossed(np.add.outer([0.0, 1.0, 2.0], np.arange(9.0)))
    assert stats.norm.ppf(0.975) < quantile(both, 0.025) < stats.t.ppf(0.975, 2)


@given(st.integers(3, 5), st.integers(1, 3), st.integers(5, 80), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_test_rejects_just_where_the_interval_leaves_out_0(
    seeds: int, repeats: int, images: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((seeds, repeats, images)) < rng.random() for _ in range(2))
    found = compare_methods(a, b)
    assert found.question is found.interval.question is Question.METHODS
    assert SMALLEST_P <= found.p <= 1
    assert (found.p <= 0.05) == (0 not in found.interval) or abs(found.p - 0.05) < 1e-6
    mirrored = compare_methods(b, a)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.p == pytest.approx(found.p)
    error = method_error(a)
    assert 0 <= error.low <= a.mean() + 1e-12
    assert a.mean() - 1e-12 <= error.high <= 1


def test_p_is_the_level_at_which_the_interval_touches_0() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((3, 1, 2000)) < 0.05, rng.random((3, 1, 2000)) < 0.09
    found = compare_methods(a, b)
    touching = compare_methods(a, b, level=1 - found.p)
    assert touching.interval.low == pytest.approx(0, abs=1e-9)


def test_methods_that_never_differ_have_an_interval_of_some_width() -> None:
    wrong = np.random.default_rng(4).random((3, 1, 1000)) < 0.05
    found = compare_methods(wrong, wrong)
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.interval.low < 0 < found.interval.high
    never = method_error(np.zeros((3, 1, 1000), bool))
    assert (never.low, never.high) == pytest.approx((0, 0.0038), abs=1e-4)


def test_seeds_that_agree_by_chance_leave_the_variance_of_images() -> None:
    """Three seeds with the same number of errors, each on other images."""
    a = np.zeros((3, 1, 300), bool)
    b = a.copy()
    for seed in range(3):
        b[seed, 0, 10 * seed : 10 * seed + 6] = True
    found = compare_methods(a, b)
    assert found.difference == pytest.approx(0.02)
    assert found.interval.high - found.interval.low > 2 * 1.96 * np.sqrt(0.02 / 900)


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_say_nothing_about_methods(seeds: int) -> None:
    wrong = np.zeros((seeds, 1, 10), bool)
    with pytest.raises(ValueError, match="say nothing about a method"):
        compare_methods(wrong, wrong)
    with pytest.raises(ValueError, match="say nothing about a method"):
        method_error(wrong)
    with pytest.raises(ValueError, match="seeds or images differ"):
        compare_methods(np.zeros((3, 1, 10), bool), np.zeros((4, 1, 10), bool))


def test_the_smallest_p_has_a_floor() -> None:
    apart = crossed(np.tile(np.r_[np.ones(999), 0.0], (3, 1)))
    assert float(methods_p(apart)) == pytest.approx(SMALLEST_P)
