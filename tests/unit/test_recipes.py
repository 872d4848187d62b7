"""The learning rate of each step, and the recipes by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cluster.recipes import Recipe, fast, paper, smoke


def recipe(schedule: str, iterations: int = 100, **fields: float) -> Recipe:
    return smoke().model_validate(
        smoke().model_dump() | {"schedule": schedule, "iterations": iterations} | fields
    )


def test_the_papers_rate_drops_tenfold_at_50k_and_at_100k() -> None:
    rates = {step: paper().lr_at(step) for step in (0, 49_999, 50_000, 99_999, 100_000, 149_999)}
    assert rates == {
        0: pytest.approx(1e-2),
        49_999: pytest.approx(1e-2),
        50_000: pytest.approx(1e-3),
        99_999: pytest.approx(1e-3),
        100_000: pytest.approx(1e-4),
        149_999: pytest.approx(1e-4),
    }


def test_a_constant_rate_is_the_same_at_both_ends() -> None:
    constant = recipe("constant", learning_rate=0.3)
    assert {constant.lr_at(step) for step in range(100)} == {0.3}


def test_one_cycle_rises_to_the_peak_and_falls_to_nearly_nothing() -> None:
    cycle = recipe("one-cycle", iterations=100, learning_rate=1.0, warmup=0.2)
    rates = [cycle.lr_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21)
    assert rates[20] == max(rates) == 1.0
    assert rates[99] == pytest.approx(1 / 80)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_one_cycle_without_warmup_begins_at_the_peak() -> None:
    cycle = recipe("one-cycle", iterations=10, learning_rate=0.5)
    assert cycle.lr_at(0) == 0.5
    assert cycle.lr_at(9) == pytest.approx(0.05)


def test_the_fast_recipe_peaks_at_its_learning_rate() -> None:
    made = fast()
    peak = math.ceil(made.warmup * made.iterations)
    assert made.lr_at(peak) == pytest.approx(made.learning_rate, rel=1 / made.iterations)
    assert made.lr_at(peak - 1) < made.lr_at(peak) > made.lr_at(peak + 1)


@settings(derandomize=True, deadline=None)
@given(
    schedule=st.sampled_from(["constant", "step", "one-cycle"]),
    iterations=st.integers(1, 10**6),
    learning_rate=st.floats(1e-6, 10),
    warmup=st.floats(0, 1, exclude_max=True),
    step_factor=st.floats(0.01, 1),
    drops=st.integers(1, 20),
    place=st.floats(0, 1),
)
def test_a_rate_is_positive_and_never_above_the_peak(
    schedule: str,
    iterations: int,
    learning_rate: float,
    warmup: float,
    step_factor: float,
    drops: int,
    place: float,
) -> None:
    made = recipe(
        schedule,
        iterations,
        learning_rate=learning_rate,
        warmup=warmup,
        step_factor=step_factor,
        step_every=-(-iterations // drops),
    )
    rate = made.lr_at(round(place * (iterations - 1)))
    assert 0 < rate <= learning_rate * (1 + 1e-9)


@pytest.mark.parametrize("make", [paper, fast, smoke])
def test_a_recipe_written_out_and_read_back_is_the_same(make: object) -> None:
    made = make()  # type: ignore[operator]
    short = made.model_dump(mode="json", exclude_defaults=True)
    assert Recipe.model_validate(short) == made
    assert {"iterations", "batch_size", "learning_rate"} <= set(short)


def test_fields_for_a_model_replace_the_shared_ones_and_leave_the_rest() -> None:
    made = Recipe.model_validate(
        fast().model_dump() | {"by_model": {"CNN": {"iterations": 9, "schedule": "constant"}}}
    )
    assert made.for_model("FCN") == made
    own = made.for_model("CNN")
    assert (own.iterations, own.schedule, own.by_model) == (9, "constant", {})
    before = {"iterations": fast().iterations, "schedule": "one-cycle"}
    assert own.model_copy(update=before) == fast().model_copy(update={"by_model": {}})
    assert own.lr_at(8) == fast().learning_rate
