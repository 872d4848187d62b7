"""Packs of cells, and how fast a job goes: estimates that decide order, never results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cluster.cluster.job import CellStatus, State
from stn_cluster.cluster.packing import MAX_PACK, PACKS_A_WORKER, form_packs, total_cost
from stn_cluster.cluster.rate import WINDOW_SECONDS, Rate
from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve


def grid(**fields: Any) -> list[Cell]:
    return resolve(parse_config({"recipe": "smoke", **fields}))


GRID = [
    *grid(seeds=[0, 1], distortions=["R", "RTS", "P", "P:xy-42"]),
    *grid(seeds=[0], recipe={"name": "smoke", "batch_size": 32}, models=["CNN", "FCN"]),
    *grid(seeds=[0], dataset="mnist", models=["ST-FCN"], recipe={"name": "smoke", "filters": 8}),
]
some_cells = st.lists(st.sampled_from(GRID), unique_by=lambda cell: cell.key)
some_workers = st.integers(1, 20)
steady = settings(derandomize=True, deadline=None)


@steady
@given(cells=some_cells, workers=some_workers)
def test_every_cell_is_in_exactly_one_pack(cells: list[Cell], workers: int) -> None:
    packed = [cell.key for pack in form_packs(cells, workers) for cell in pack]
    assert Counter(packed) == Counter(cell.key for cell in cells)


@steady
@given(cells=some_cells, workers=some_workers)
def test_a_pack_is_one_to_four_cells_of_one_stream(cells: list[Cell], workers: int) -> None:
    for pack in form_packs(cells, workers):
        assert 1 <= len(pack) <= MAX_PACK == 4
        assert len({cell.stream for cell in pack}) == 1


@steady
@given(cells=some_cells, workers=some_workers)
def test_the_costliest_packs_and_in_them_the_costliest_cells_come_first(
    cells: list[Cell], workers: int
) -> None:
    packs = form_packs(cells, workers)
    costs = [total_cost(pack) for pack in packs]
    assert costs == sorted(costs, reverse=True)
    for pack in packs:
        assert [cell.cost for cell in pack] == sorted((cell.cost for cell in pack), reverse=True)


@steady
@given(cells=some_cells, workers=some_workers)
def test_no_worker_is_idle_while_there_are_cells_for_it(cells: list[Cell], workers: int) -> None:
    packs = form_packs(cells, workers)
    assert len(packs) >= min(len(cells), PACKS_A_WORKER * workers)


@steady
@given(cells=some_cells, workers=some_workers, data=st.data())
def test_packing_does_not_depend_on_the_order_of_streams(
    cells: list[Cell], workers: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(cells))
    sizes = Counter(len(pack) for pack in form_packs(cells, workers))
    assert Counter(len(pack) for pack in form_packs(shuffled, workers)) == sizes


def test_forming_packs_leaves_the_cells_given_as_they_were() -> None:
    cells = list(GRID)
    assert form_packs(cells, 2) == form_packs(tuple(GRID), 2)
    assert cells == GRID


def test_a_whole_grid_on_two_cores_is_eight_packs_of_four() -> None:
    cells = grid()
    assert [len(pack) for pack in form_packs(cells, workers=2)] == [4] * 8
    assert [len(pack) for pack in form_packs(cells, workers=16)] == [1] * 32
    assert form_packs([], workers=2) == []


# --- rate ---


class Clock:
    """A clock that stands still until it is told to go."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("stn_cluster.cluster.rate.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


CELLS = grid(models=["CNN"], distortions=["R", "E"])  # 8 iterations of 16 images each


def at(*steps: int, state: State = State.RUNNING, **fields: Any) -> list[CellStatus]:
    pairs = zip(CELLS, steps, strict=True)
    return [CellStatus(cell, state, step=step, iterations=8, **fields) for cell, step in pairs]


def test_nothing_is_said_before_anything_is_known(clock: Clock) -> None:
    rate = Rate()
    assert rate.images_per_second() == 0
    assert rate.eta_seconds(at(0, 0)) is None
    rate.update(at(0, 0))
    clock.now += 10
    assert rate.images_per_second() == 0
    assert rate.eta_seconds(at(0, 0)) is None


def test_images_a_second_are_those_of_all_cells_together(clock: Clock) -> None:
    rate = Rate()
    rate.update(at(0, 0))
    clock.now += 2
    rate.update(at(3, 1))
    assert rate.images_per_second() == pytest.approx(4 * 16 / 2)


def test_the_time_left_is_what_the_work_so_far_took(clock: Clock) -> None:
    rate = Rate()
    rate.update(at(0, 0))
    clock.now += 4
    rate.update(at(4, 0))
    assert rate.eta_seconds(at(4, 0)) == pytest.approx(12)  # a quarter is done
    clock.now += 12
    rate.update(at(8, 8, state=State.SUCCEEDED))
    assert rate.eta_seconds(at(8, 8, state=State.SUCCEEDED)) == 0


def test_a_failed_cell_is_no_work_left(clock: Clock) -> None:
    rate = Rate()
    rate.update(at(1, 1))
    clock.now += 5
    ended = [at(2, 2, state=State.FAILED)[0], at(8, 8, state=State.SUCCEEDED)[1]]
    assert rate.eta_seconds(ended) == 0


def test_the_present_speed_forgets_what_was_long_ago(clock: Clock) -> None:
    rate = Rate()
    rate.update(at(0, 0))
    clock.now += 1
    rate.update(at(4, 4))
    for _ in range(20):
        clock.now += WINDOW_SECONDS / 10
        rate.update(at(4, 4))
    assert rate.images_per_second() == 0


def test_cells_of_the_store_count_neither_as_work_nor_as_images(clock: Clock) -> None:
    rate = Rate()
    stored = at(8, 8, state=State.SUCCEEDED, stored=True)[:1]
    rate.update([*stored, at(0, 0)[1]])
    clock.now += 4
    half = [*stored, at(0, 4)[1]]
    rate.update(half)
    assert rate.images_per_second() == pytest.approx(4 * 16 / 4)
    assert rate.eta_seconds(half) == pytest.approx(4)


def test_a_cell_that_begins_again_gives_no_negative_speed(clock: Clock) -> None:
    rate = Rate()
    rate.update(at(4, 4))
    clock.now += 2
    rate.update(at(0, 0))
    assert rate.images_per_second() == 0
    assert rate.eta_seconds(at(0, 0)) is None
