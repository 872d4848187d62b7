"""What can be seen: by scipy's binomial distribution, and by what happens with so many seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stn_cluster.report.statistics.methods import compare_methods, crossed
from stn_cluster.report.statistics.paired import mcnemar_p
from stn_cluster.report.statistics.power import detectable, seeds_needed, smallest_significant


@given(st.integers(0, 300), st.sampled_from([0.05, 0.001, 0.05 / 112]))
@settings(max_examples=50, deadline=None)
def test_the_smallest_significant_difference_is_the_first_that_mcnemars_test_finds(
    discordant: int, alpha: float
) -> None:
    significant = [k for k in range(discordant // 2 + 1) if mcnemar_p(k, discordant - k) <= alpha]
    found = smallest_significant(discordant, 1000, alpha)
    if not significant:
        assert found is None
        assert detectable(discordant, 1000, alpha) is None
    else:
        assert found == pytest.approx((discordant - 2 * significant[-1]) / 1000)


def test_a_detectable_difference_is_found_as_often_as_it_says() -> None:
    difference = detectable(70, 10_000, power=0.8)
    assert difference == pytest.approx(0.0024, abs=0.0002)
    assert smallest_significant(70, 10_000) == pytest.approx(0.0018)
    share = (difference * 10_000 / 70 + 1) / 2
    counts = np.arange(71)
    found = mcnemar_p(counts, 70 - counts) <= 0.05
    assert stats.binom.pmf(counts, 70, share)[found].sum() == pytest.approx(0.8, abs=1e-6)


def test_seeds_needed_are_fewer_for_larger_differences_and_never_enough_for_images() -> None:
    rng = np.random.default_rng(0)
    by_seed = rng.normal(size=(3, 1))

    def needed(difference: float, of_images: float) -> int | None:
        values = 0.3 * by_seed + of_images * rng.normal(size=(1, 400)) + rng.normal(size=(3, 400))
        return seeds_needed(crossed(values - values.mean() + difference))

    counts = [needed(difference, 0.0) for difference in (2.0, 0.5, 0.25)]
    assert None not in counts
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert needed(0.25, 5.0) is None
    assert needed(0.0, 0.0) is None


def test_with_the_seeds_that_were_asked_for_four_in_five_are_separated() -> None:
    rng = np.random.default_rng(1)
    errors_a, errors_b, spread, images = 0.05, 0.08, 0.006, 2000

    def networks(error: float, seeds: int) -> np.ndarray:
        own = error + spread * rng.standard_normal((seeds, 1, 1))
        return rng.random((seeds, 1, images)) < own

    pilot = compare_methods(networks(errors_a, 40), networks(errors_b, 40)).spread
    seeds = seeds_needed(pilot)
    assert seeds is not None
    found = [
        compare_methods(networks(errors_a, seeds), networks(errors_b, seeds)).p <= 0.05
        for _ in range(200)
    ]
    assert np.mean(found) > 0.7
