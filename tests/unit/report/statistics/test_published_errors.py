"""Ours against a published number: statsmodels' interval, widened by rounding."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from stn_cluster.report.statistics.intervals import networks_error
from stn_cluster.report.statistics.published_errors import against_published
from stn_cluster.report.statistics.questions import Interval, Question


def ours(wrong: int, n: int = 10_000) -> Interval:
    return networks_error((np.arange(n) < wrong).reshape(1, 1, n))


@pytest.mark.parametrize(("wrong", "published"), [(75, 50), (176, 120), (322, 520), (0, 10)])
def test_without_rounding_it_is_newcombes_interval(wrong: int, published: int) -> None:
    found = against_published(wrong / 1e4, ours(wrong), published / 1e4, rounding=0)
    theirs = confint_proportions_2indep(wrong, 10_000, published, 10_000, method="newcomb")
    assert (found.low, found.high) == pytest.approx(theirs, abs=1e-12)
    assert found.question is Question.NETWORKS


def test_rounding_widens_it_on_both_sides_by_half_a_digit() -> None:
    exact = against_published(0.0075, ours(75), 0.005, rounding=0)
    rounded = against_published(0.0075, ours(75), 0.005)
    assert rounded.low == pytest.approx(exact.low - 0.0005, abs=1e-4)
    assert rounded.high == pytest.approx(exact.high + 0.0005, abs=1e-4)


def test_the_papers_own_differences_of_a_digit_cannot_be_told_apart() -> None:
    assert 0 in against_published(0.0080, ours(80), 0.007)
    assert 0 not in against_published(0.0322, ours(322), 0.052)
