"""All pairs of a column: the same as each pair by itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from support.trials import draw_wrong

from stn_cluster.report.statistics import all_pairs
from stn_cluster.report.statistics.all_pairs import pairs_of_methods, pairs_of_networks
from stn_cluster.report.statistics.methods import compare_methods
from stn_cluster.report.statistics.paired import MCNEMAR, NORMAL, SIGN_FLIP, compare_networks

ERRORS = (0.02, 0.03, 0.05, 0.05)


def column(**shape: int) -> list[np.ndarray]:
    return list(draw_wrong(np.random.default_rng(0), ERRORS, images=700, **shape))


@pytest.mark.parametrize(
    ("seeds", "repeats", "test"), [(1, 1, MCNEMAR), (2, 1, SIGN_FLIP), (1, 4, SIGN_FLIP)]
)
def test_networks_are_compared_as_one_by_one(seeds: int, repeats: int, test: str) -> None:
    rows = column(seeds=seeds, repeats=repeats)
    found = pairs_of_networks(rows)
    each = [compare_networks(a, b) for a, b in combinations(rows, 2)]
    assert found.test == test == each[0].test
    assert found.p == pytest.approx([one.p for one in each])
    assert list(zip(found.first, found.second, strict=True)) == list(combinations(range(4), 2))
    if found.discordant is not None:
        assert found.discordant.tolist() == [one.b + one.c for one in each]
    if found.error is not None:
        halves = [(one.interval.high - one.interval.low) / 2 for one in each]
        assert 1.96 * found.error == pytest.approx(halves, rel=0.15)


@pytest.mark.parametrize("repeats", [1, 4])
def test_methods_are_compared_as_one_by_one(repeats: int) -> None:
    rows = column(seeds=3, repeats=repeats)
    found = pairs_of_methods(rows)
    each = [compare_methods(a, b) for a, b in combinations(rows, 2)]
    assert found.p == pytest.approx([one.p for one in each], rel=1e-6)
    assert found.spread is not None
    assert found.spread.mean == pytest.approx([one.difference for one in each])
    assert found.spread.by_seeds == pytest.approx([one.spread.by_seeds for one in each])
    assert found.spread.by_images == pytest.approx(
        [one.spread.by_images for one in each], abs=1e-12
    )


def test_very_many_pairs_are_tested_by_the_normal_approximation_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = column(seeds=2)
    exact = pairs_of_networks(rows)
    monkeypatch.setattr(all_pairs, "MOST_EXACT", 3)
    near = pairs_of_networks(rows)
    assert near.test == NORMAL
    assert near.p == pytest.approx(exact.p, abs=0.01)


def test_one_row_has_no_pairs() -> None:
    (row, *_) = column(seeds=3)
    for found in (pairs_of_networks([row]), pairs_of_methods([row]), pairs_of_networks([row[:1]])):
        assert len(found.p) == len(found.first) == 0
