"""Intervals of one error: against statsmodels, and by how often they cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from stn_cluster.report.statistics.intervals import (
    effective_n,
    networks_error,
    normal_quantile,
    wilson,
)
from stn_cluster.report.statistics.questions import Question


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_wilsons_interval_is_statsmodels(case: tuple[int, int]) -> None:
    wrong, n = case
    for level in (0.9, 0.95, 0.999):
        ours = wilson(wrong / n, n, normal_quantile(level))
        theirs = proportion_confint(wrong, n, alpha=1 - level, method="wilson")
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_one_image_once_is_wilsons_interval() -> None:
    wrong = (np.arange(10_000) < 75).reshape(1, 1, -1)
    interval = networks_error(wrong)
    assert interval.question is Question.NETWORKS
    theirs = proportion_confint(75, 10_000, method="wilson")
    assert (interval.low, interval.high) == pytest.approx(theirs, abs=1e-12)


def test_wilsons_interval_covers_errors_of_the_table_as_it_says() -> None:
    """Exactly, over all counts: 94 to 96 %, averaged over true errors of 0.2 to 10 %."""
    n, counts = 10_000, np.arange(2_000)
    low, high = wilson(counts / n, n, normal_quantile(0.95))
    errors = np.geomspace(0.002, 0.1, 200)
    covered = [
        stats.binom.pmf(counts, n, error)[(low <= error) & (error <= high)].sum()
        for error in errors
    ]
    assert 0.94 <= np.mean(covered) <= 0.96
    assert np.mean(covered) == pytest.approx(0.95, abs=0.002)


def test_the_effective_number_of_images_is_that_of_alike_or_of_independent_versions() -> None:
    rng = np.random.default_rng(0)
    alike = (rng.random(500) < 0.1).astype(float)
    assert effective_n(alike, 10) == pytest.approx(500)
    independent = rng.binomial(10, 0.1, 20_000) / 10
    assert effective_n(independent, 10) == pytest.approx(200_000, rel=0.03)
    assert effective_n(np.zeros(500), 10) == 500
    assert effective_n(np.ones(500), 10) == 500
    between = rng.binomial(10, rng.beta(0.5, 4.5, 20_000)) / 10  # correlation 1 / (1 + 0.5 + 4.5)
    assert effective_n(between, 10) == pytest.approx(200_000 / (1 + 9 / 6), rel=0.05)


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 60),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_error_and_never_leaves_0_to_1(
    seeds: int, repeats: int, images: int, error: float, seed: int
) -> None:
    wrong = np.random.default_rng(seed).random((seeds, repeats, images)) < error
    interval = networks_error(wrong)
    assert 0 <= interval.low <= wrong.mean() + 1e-12
    assert wrong.mean() - 1e-12 <= interval.high <= 1
    wider = networks_error(wrong, level=0.999)
    assert wider.low <= interval.low <= interval.high <= wider.high
