"""Ranks within a column and their intervals."""

from __future__ import annotations

import numpy as np

from stn_cluster.report.statistics.questions import Question
from stn_cluster.report.statistics.ranks import rank_intervals


def test_what_is_far_apart_has_its_rank_for_certain_and_what_is_near_shares_ranks() -> None:
    rng = np.random.default_rng(0)
    errors = [0.30, 0.05, 0.05, 0.10]
    rates = np.array([rng.random((1, 4000)) < error for error in errors]).astype(float)
    far, one, other, middle = rank_intervals(rates, Question.NETWORKS)
    assert (far.rank, far.low, far.high) == (4, 4, 4)
    assert (middle.rank, middle.low, middle.high) == (3, 3, 3)
    assert {one.rank, other.rank} == {1, 2}
    assert (one.low, one.high) == (other.low, other.high) == (1, 2)


def test_equal_entries_share_the_better_rank_always() -> None:
    rates = np.tile(np.random.default_rng(0).random((1, 1, 50)) < 0.2, (3, 2, 1)).astype(float)
    for question in Question:
        for found in rank_intervals(rates, question, draws=50):
            assert (found.rank, found.low, found.high) == (1, 1, 1)


def test_they_agree_with_a_bootstrap_of_all_images() -> None:
    rng = np.random.default_rng(1)
    rates = (rng.random((5, 3, 300)) < np.linspace(0.1, 0.2, 5)[:, None, None]).astype(float)
    found = rank_intervals(rates, Question.NETWORKS, draws=4000)
    mean = rates.mean(axis=1)
    drawn = []
    for _ in range(4000):
        errors = mean[:, rng.integers(0, 300, 300)].sum(axis=1).round(9)
        drawn.append([(errors < error).sum() + 1 for error in errors])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method="inverted_cdf")
    assert np.abs([one.low for one in found] - low).max() <= 1
    assert np.abs([one.high for one in found] - high).max() <= 1
    assert [one.rank for one in found] == [int((mean.sum(1) < m).sum()) + 1 for m in mean.sum(1)]


def test_seeds_that_differ_widen_the_ranks_of_methods_only() -> None:
    rng = np.random.default_rng(2)
    errors = np.array([[0.10, 0.10, 0.10], [0.02, 0.12, 0.22]])  # of each seed
    rates = (rng.random((2, 3, 4_000)) < errors[:, :, None]).astype(float)
    networks = rank_intervals(rates, Question.NETWORKS)
    methods = rank_intervals(rates, Question.METHODS)
    assert [(one.low, one.high) for one in networks] == [(1, 1), (2, 2)]
    assert [(one.low, one.high) for one in methods] == [(1, 2), (1, 2)]
    assert networks[0].question is Question.NETWORKS
    assert rank_intervals(rates, Question.METHODS) == methods  # the same draws each time
