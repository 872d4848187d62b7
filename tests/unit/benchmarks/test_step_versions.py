"""Versions of a step are compared by what each of them does itself."""

from __future__ import annotations

import pytest
from step_versions import CELLS, HERE, compare_versions, ratio, same_losses

DIGITS = {"dataset": "digits", "recipe": {"name": "smoke"}}


@pytest.mark.chaos  # a few seconds for each process, and of no use to who changes no benchmark
def test_the_same_code_has_the_same_losses_and_bf16_has_others() -> None:
    [row] = compare_versions(DIGITS, HERE, repeats=3, filters=[4], cells=CELLS[:1])
    assert (row["cell"], row["filters"]) == ("ST-CNN affine R", 4)
    assert row["versions"].keys() == {"before", "now", "bf16"}
    assert same_losses(row) is True
    assert row["versions"]["bf16"]["losses"] != row["versions"]["now"]["losses"]
    assert all(len(found["seconds"]) == 3 for found in row["versions"].values())
    assert all(found["peak_mib"] > 50 for found in row["versions"].values())
    speed = ratio(row, "before", "now")
    assert speed is not None
    assert speed > 0


@pytest.mark.chaos
def test_versions_that_do_not_know_a_config_are_left_out() -> None:
    assert compare_versions(DIGITS, None, repeats=1, filters=["many"], cells=CELLS[:1]) == []
