"""Two networks on the same images: by statsmodels, scipy, brute force, and by properties."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from stn_cluster.report.statistics.paired import (
    MCNEMAR,
    SIGN_FLIP,
    base_image_differences,
    compare_networks,
    mcnemar_p,
    sign_flip_p,
    sign_flip_p_normal,
    tango,
)
from stn_cluster.report.statistics.questions import Question

COUNTS = st.integers(0, 400)
DIFFERENCES = st.lists(st.integers(-6, 6), min_size=1, max_size=10)


def networks(b: int, c: int, n: int, both: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Wrong images of A and of B: b that only A gets, c that only B gets."""
    image = np.arange(n)
    in_both = image >= n - both
    a = ((image >= b) & (image < b + c)) | in_both
    return a.reshape(1, 1, n), ((image < b) | in_both).reshape(1, 1, n)


@given(COUNTS, COUNTS)
@settings(max_examples=60, deadline=None)
def test_mcnemars_test_is_statsmodels_and_scipys(b: int, c: int) -> None:
    p = float(mcnemar_p(b, c))
    theirs = mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0
    assert p == pytest.approx(theirs, rel=1e-9)
    assert b + c == 0 or p == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=1e-9)
    assert sign_flip_p(np.array([1] * b + [0] * 5 + [-1] * c)) == p


@given(DIFFERENCES)
@settings(max_examples=80, deadline=None)
def test_the_sign_flip_test_is_that_of_all_signs(differences: list[int]) -> None:
    values = np.array(differences)
    sums = [abs(np.dot(signs, values)) for signs in product([-1, 1], repeat=len(values))]
    p = np.mean([one >= abs(values.sum()) for one in sums])
    assert sign_flip_p(values) == pytest.approx(float(p), abs=1e-12)
    assert sign_flip_p(values * 7) == pytest.approx(float(p), abs=1e-12)
    assert sign_flip_p(-values) == pytest.approx(float(p), abs=1e-12)


def test_the_sign_flip_test_agrees_with_scipys_permutation_test() -> None:
    values = np.array([3, -1, 2, 2, 5, 0, -4, 1, 1, 6, -2])
    found = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p(values) == pytest.approx(found.pvalue, abs=1e-12)


def test_its_normal_approximation_is_near_it_with_many_base_images() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.2):
        values = np.round(rng.normal(shift, 2, 800)).astype(np.int64)
        near = float(sign_flip_p_normal(values.sum(), (values**2).sum()))
        assert near == pytest.approx(sign_flip_p(values), abs=0.01)
    assert float(sign_flip_p_normal(0, 0)) == 1.0


def score(delta: float, b: int, c: int, n: int) -> float:
    """Score statistic, with the nuisance parameter found by a numerical maximum likelihood."""

    def loss(share: float) -> float:
        return -(
            b * np.log(max(share + delta, 1e-300))
            + c * np.log(max(share, 1e-300))
            + (n - b - c) * np.log(max(1 - delta - 2 * share, 1e-300))
        )

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    share = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-13}
    ).x
    return float((b - c - n * delta) / np.sqrt(n * (2 * share + delta - delta**2)))


@pytest.mark.parametrize(
    ("b", "c", "n"), [(40, 20, 1000), (5, 3, 60), (1, 9, 50), (60, 61, 10_000)]
)
def test_tangos_interval_ends_where_the_score_test_rejects(b: int, c: int, n: int) -> None:
    low, high = tango(b, c, n)
    assert score(low, b, c, n) == pytest.approx(1.959964, abs=1e-3)
    assert score(high, b, c, n) == pytest.approx(-1.959964, abs=1e-3)


def test_without_discordant_images_the_interval_has_a_width() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    assert tango(0, 0, 1000) == pytest.approx((-z2 / (1000 + z2), z2 / (1000 + z2)), abs=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(80, 500))
@settings(max_examples=50, deadline=None)
def test_swapping_the_two_mirrors_the_result(b: int, c: int, n: int) -> None:
    wrong_a, wrong_b = networks(b, c, n, both=7 if b + c + 7 <= n else 0)
    one, other = compare_networks(wrong_a, wrong_b), compare_networks(wrong_b, wrong_a)
    assert (one.b, one.c, one.n, one.test) == (b, c, n, MCNEMAR)
    assert (other.b, other.c, other.p) == (c, b, one.p)
    assert one.difference == pytest.approx((b - c) / n) == pytest.approx(-other.difference)
    assert one.difference in one.interval
    assert (one.interval.low, one.interval.high) == pytest.approx(
        (-other.interval.high, -other.interval.low), abs=1e-9
    )
    assert (one.interval.low, one.interval.high) == pytest.approx(tango(b, c, n))
    assert one.question is one.interval.question is Question.NETWORKS


def test_repeated_versions_count_as_their_base_images() -> None:
    a, b = networks(30, 10, 400)
    once = compare_networks(a, b)
    alike = compare_networks(np.repeat(a, 5, axis=1), np.repeat(b, 5, axis=1))
    assert alike.test == SIGN_FLIP
    assert alike.p == pytest.approx(once.p)
    assert (alike.n, alike.base_images, alike.b) == (2000, 400, 150)
    ends = (alike.interval.low, alike.interval.high)
    assert ends == pytest.approx((once.interval.low, once.interval.high), abs=1e-9)


def test_the_mean_of_alike_networks_is_compared_as_one_of_them() -> None:
    a, b = networks(30, 10, 400)
    several = compare_networks(np.repeat(a, 2, axis=0), np.repeat(b, 3, axis=0))
    assert several.p == pytest.approx(compare_networks(a, b).p)
    assert several.difference == pytest.approx(20 / 400)
    assert np.abs(base_image_differences(np.repeat(a, 2, axis=0), b)).max() == 2


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="images differ"):
        compare_networks(np.zeros((1, 1, 5), bool), np.zeros((1, 1, 6), bool))


@pytest.mark.filterwarnings("error")
def test_networks_that_differ_on_every_image_have_an_interval_without_a_warning() -> None:
    low, high = tango(10, 0, 10)
    assert 0 < low < high == 1
    assert tango(0, 10, 10) == pytest.approx((-high, -low))
