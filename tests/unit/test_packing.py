"""Packs: how many cells of one stream a worker trains side by side."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stn_cluster.cluster.packing import MAX_PACK, PACKS_A_WORKER, pack_size

some_cells = st.integers(0, 200)
some_workers = st.integers(1, 40)
steady = settings(derandomize=True, deadline=None)


def packs_of(cells: int, workers: int) -> list[int]:
    """The sizes of all packs, where each takes as many as it may."""
    sizes = []
    while cells:
        sizes.append(pack_size(cells, workers))
        cells -= sizes[-1]
    return sizes


@steady
@given(cells=some_cells, workers=some_workers)
def test_a_pack_is_one_to_four_cells(cells: int, workers: int) -> None:
    assert 1 <= pack_size(cells, workers) <= MAX_PACK == 4


@steady
@given(cells=some_cells, workers=some_workers)
def test_no_worker_is_idle_while_there_are_cells_for_it(cells: int, workers: int) -> None:
    assert len(packs_of(cells, workers)) >= min(cells, PACKS_A_WORKER * workers)


@steady
@given(cells=some_cells, workers=some_workers)
def test_packs_only_become_smaller_so_that_the_last_to_end_are_short(
    cells: int, workers: int
) -> None:
    sizes = packs_of(cells, workers)
    assert sizes == sorted(sizes, reverse=True)
    assert all(size == 1 for size in sizes[-min(cells, workers) :])


def test_a_whole_grid_on_two_cores_begins_with_full_packs_and_on_many_has_none() -> None:
    assert packs_of(32, workers=2)[:5] == [4] * 5
    assert packs_of(32, workers=16) == [1] * 32
    assert packs_of(32, workers=4)[0] == 4
