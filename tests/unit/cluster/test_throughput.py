"""Throughput: images a second and the time that is left, from reported steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell

from stn_cluster.cluster.throughput import (
    NOW_SECONDS,
    PAUSE_SECONDS,
    SAMPLE_SECONDS,
    WINDOW_SECONDS,
    Throughput,
)
from stn_cluster.grid import Cell

STEPS, BATCH, COST = 100, 16, 50.0  # of a cell: steps in all, images a step, cost of all of it


def costing(cost: float, iterations: int) -> Cell:
    """A cell of so many steps."""
    settings = {"iterations": iterations, "batch_size": BATCH}
    return make_cell().model_copy(update={"cost": cost, "settings": settings})


CELL = costing(COST, STEPS)


def add(throughput: Throughput, steps: int, now: float) -> None:
    """Adds steps of such a cell."""
    throughput.add(CELL, steps, now)


def test_there_is_no_estimate_before_anything_was_reported() -> None:
    throughput = Throughput()
    assert throughput.images_per_second(5.0) == 0
    assert throughput.eta_seconds(COST, 5.0) is None
    throughput.begin(5.0)
    assert throughput.images_per_second(9.0) == 0
    assert throughput.eta_seconds(COST, 9.0) is None


def test_images_a_second_are_those_of_all_workers_together() -> None:
    throughput = Throughput()
    throughput.begin(100.0)
    add(throughput, 3, now=102.0)
    add(throughput, 1, now=102.0)
    assert throughput.images_per_second(102.0) == pytest.approx(4 * BATCH / 2)


def test_the_eta_is_the_cost_left_at_the_speed_so_far() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    add(throughput, STEPS // 4, now=5.0)
    assert throughput.eta_seconds(COST * 3 / 4, 5.0) == pytest.approx(15)
    add(throughput, STEPS * 3 // 4, now=20.0)
    assert throughput.eta_seconds(0.0, 20.0) == 0


def test_there_is_no_eta_in_the_first_second() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    add(throughput, 1, now=0.5)
    assert throughput.eta_seconds(COST, 0.5) is None
    assert throughput.eta_seconds(COST, 1.0) is not None


def test_cells_that_cost_more_take_longer_however_many_steps_they_have() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    throughput.add(costing(30.0, 10), 10, now=10.0)  # one whole cell: 3 a second
    assert throughput.eta_seconds(90.0, 10.0) == pytest.approx(30)


@settings(derandomize=True, deadline=None)
@given(
    workers=st.integers(1, 5),
    heartbeat=st.floats(0.05, 3.0),
    steps=st.integers(1, 50),
    heartbeats=st.integers(60, 200),
)
def test_a_steady_speed_is_measured_to_within_one_heartbeat(
    workers: int, heartbeat: float, steps: int, heartbeats: int
) -> None:
    throughput = Throughput()
    now = 1000.0
    throughput.begin(now)
    for _ in range(heartbeats):
        now += heartbeat
        for _ in range(workers):
            add(throughput, steps, now)
    span = min(
        heartbeats * heartbeat, NOW_SECONDS - heartbeat
    )  # seconds that are looked at, at least
    images = workers * steps * BATCH / heartbeat
    assert throughput.images_per_second(now) == pytest.approx(
        images, rel=max(heartbeat, SAMPLE_SECONDS) / span
    )
    cost = workers * steps / STEPS * COST / heartbeat
    assert throughput.eta_seconds(7 * cost, now) == pytest.approx(7, rel=0.1)


def test_the_present_speed_forgets_old_reports() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    add(throughput, 90, now=1.0)
    assert throughput.images_per_second(1.0 + NOW_SECONDS / 2) > 0
    assert throughput.images_per_second(2.0 + NOW_SECONDS) == 0


def test_idle_time_does_not_lower_the_speed_of_the_next_job() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    add(throughput, 50, now=10.0)
    throughput.begin(5000.0)
    assert throughput.eta_seconds(COST, 5001.0) is None
    add(throughput, 50, now=5010.0)
    assert throughput.eta_seconds(COST, 5010.0) == pytest.approx(20)
    assert throughput.images_per_second(5010.0) == pytest.approx(50 * BATCH / 10)


def test_it_has_paused_once_no_step_was_reported_for_a_while() -> None:
    throughput = Throughput()
    assert throughput.paused(0.0)
    throughput.begin(10.0)
    assert not throughput.paused(10.0 + PAUSE_SECONDS)
    assert throughput.paused(10.1 + PAUSE_SECONDS)
    add(throughput, 1, now=20.0)
    assert not throughput.paused(20.0 + PAUSE_SECONDS)


def test_steps_of_long_ago_give_no_estimate() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    add(throughput, 50, now=10.0)
    assert throughput.eta_seconds(COST, 10.0 + WINDOW_SECONDS) is not None
    assert throughput.eta_seconds(COST, 10.1 + WINDOW_SECONDS) is None


def test_a_changed_speed_is_the_one_that_counts_after_the_window() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    for second in range(1, 1000):
        add(throughput, 10 if second < 500 else 1, now=float(second))
    assert throughput.eta_seconds(COST, 999.0) == pytest.approx(100)  # one step a second


def test_frequent_reports_take_no_more_memory() -> None:
    throughput = Throughput()
    throughput.begin(0.0)
    for number in range(50_000):
        add(throughput, 1, now=number / 100)
    assert len(throughput._samples) < 2 * WINDOW_SECONDS / SAMPLE_SECONDS
    assert throughput.images_per_second(499.99) == pytest.approx(100 * BATCH, rel=0.02)
