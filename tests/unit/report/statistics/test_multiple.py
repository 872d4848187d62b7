"""Corrections for many tests: against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from stn_cluster.report.statistics.multiple import CORRECTIONS, bonferroni_level


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_corrections_are_statsmodels(p: list[float]) -> None:
    names = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}
    for name, correct in CORRECTIONS.items():
        theirs = multipletests(p, method=names[name])[1]
        assert correct(np.array(p)) == pytest.approx(theirs, abs=1e-12)


def test_no_tests_have_no_p_values() -> None:
    for correct in CORRECTIONS.values():
        assert len(correct(np.array([]))) == 0


def test_intervals_that_hold_at_once_are_wider_the_more_there_are() -> None:
    assert bonferroni_level(0) == bonferroni_level(1) == pytest.approx(0.95)
    assert bonferroni_level(10) == pytest.approx(0.995)
