"""How fast the workers go: estimates for people, from what is reported."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cluster.cluster.throughput import NOW_SECONDS, SAMPLE_SECONDS, WINDOW_SECONDS, Throughput

STEPS, BATCH, COST = 100, 16, 50.0  # of a cell: steps in all, images a step, cost of all of it


def add(rate: Throughput, steps: int, now: float) -> None:
    """Reports steps of such a cell."""
    rate.add(steps, STEPS, BATCH, COST, now)


def test_nothing_is_said_before_anything_is_known() -> None:
    rate = Throughput()
    assert rate.images_per_second(5.0) == 0
    assert rate.eta_seconds(COST, 5.0) is None
    rate.begin(5.0)
    assert rate.images_per_second(9.0) == 0
    assert rate.eta_seconds(COST, 9.0) is None


def test_images_a_second_are_those_of_all_workers_together() -> None:
    rate = Throughput()
    rate.begin(100.0)
    add(rate, 3, now=102.0)
    add(rate, 1, now=102.0)
    assert rate.images_per_second(102.0) == pytest.approx(4 * BATCH / 2)


def test_the_time_left_is_what_the_work_so_far_took() -> None:
    rate = Throughput()
    rate.begin(0.0)
    add(rate, STEPS // 4, now=5.0)
    assert rate.eta_seconds(COST * 3 / 4, 5.0) == pytest.approx(15)
    add(rate, STEPS * 3 // 4, now=20.0)
    assert rate.eta_seconds(0.0, 20.0) == 0


def test_a_second_is_too_short_to_judge_by() -> None:
    rate = Throughput()
    rate.begin(0.0)
    add(rate, 1, now=0.5)
    assert rate.eta_seconds(COST, 0.5) is None
    assert rate.eta_seconds(COST, 1.0) is not None


def test_cells_that_cost_more_take_longer_however_many_steps_they_have() -> None:
    rate = Throughput()
    rate.begin(0.0)
    rate.add(10, 10, BATCH, cost=30.0, now=10.0)  # one whole cell: 3 a second
    assert rate.eta_seconds(90.0, 10.0) == pytest.approx(30)


@settings(derandomize=True, deadline=None)
@given(
    workers=st.integers(1, 5),
    beat=st.floats(0.05, 3.0),
    steps=st.integers(1, 50),
    beats=st.integers(60, 200),
)
def test_a_steady_speed_is_told_as_it_is_but_for_one_word_of_the_workers(
    workers: int, beat: float, steps: int, beats: int
) -> None:
    rate = Throughput()
    now = 1000.0
    rate.begin(now)
    for _ in range(beats):
        now += beat
        for _ in range(workers):
            add(rate, steps, now)
    span = min(beats * beat, NOW_SECONDS - beat)  # seconds that are looked at, at least
    images = workers * steps * BATCH / beat
    assert rate.images_per_second(now) == pytest.approx(
        images, rel=max(beat, SAMPLE_SECONDS) / span
    )
    cost = workers * steps / STEPS * COST / beat
    assert rate.eta_seconds(7 * cost, now) == pytest.approx(7, rel=0.1)


def test_the_present_speed_forgets_what_was_long_ago() -> None:
    rate = Throughput()
    rate.begin(0.0)
    add(rate, 90, now=1.0)
    assert rate.images_per_second(1.0 + NOW_SECONDS / 2) > 0
    assert rate.images_per_second(2.0 + NOW_SECONDS) == 0


def test_an_idle_time_is_not_held_against_the_next_job() -> None:
    rate = Throughput()
    rate.begin(0.0)
    add(rate, 50, now=10.0)
    rate.begin(5000.0)
    assert rate.eta_seconds(COST, 5001.0) is None
    add(rate, 50, now=5010.0)
    assert rate.eta_seconds(COST, 5010.0) == pytest.approx(20)
    assert rate.images_per_second(5010.0) == pytest.approx(50 * BATCH / 10)


def test_a_speed_that_changed_is_believed_after_a_while() -> None:
    rate = Throughput()
    rate.begin(0.0)
    for second in range(1, 1000):
        add(rate, 10 if second < 500 else 1, now=float(second))
    assert rate.eta_seconds(COST, 999.0) == pytest.approx(100)  # one step a second


def test_words_that_come_thick_and_fast_take_no_more_memory() -> None:
    rate = Throughput()
    rate.begin(0.0)
    for number in range(50_000):
        add(rate, 1, now=number / 100)
    assert len(rate._seen) < 2 * WINDOW_SECONDS / SAMPLE_SECONDS
    assert rate.images_per_second(499.99) == pytest.approx(100 * BATCH, rel=0.02)
