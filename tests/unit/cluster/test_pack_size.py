"""Pack sizes: how many cells of one stream a worker trains side by side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell
from support.workers import CORE, GPU

from stn_cluster.cluster.placement import (
    CPU_PACK,
    GPU_PACK,
    PACKS_A_WORKER,
    SMALL_CPU_PACK,
    fair_share,
    largest_pack,
    pack_size,
)
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import parse_config
from stn_cluster.registry import resolve

some_cells = st.integers(0, 200)
some_workers = st.integers(2, 40)
steady = settings(derandomize=True, deadline=None)


def packs_of(cells: int, workers: int, most: int = CPU_PACK) -> list[int]:
    """The sizes of all packs, where each takes as many as it may."""
    sizes = []
    while cells:
        sizes.append(min(most, fair_share(cells, workers)))
        cells -= sizes[-1]
    return sizes


@steady
@given(cells=some_cells, workers=some_workers)
def test_no_worker_is_idle_while_there_are_cells_for_it(cells: int, workers: int) -> None:
    assert len(packs_of(cells, workers)) >= min(cells, PACKS_A_WORKER * workers)


@steady
@given(cells=some_cells, workers=some_workers, most=st.integers(1, 20))
def test_packs_only_become_smaller_so_that_the_last_to_end_are_short(
    cells: int, workers: int, most: int
) -> None:
    sizes = packs_of(cells, workers, most)
    assert sizes == sorted(sizes, reverse=True)
    assert all(size == 1 for size in sizes[-min(cells, workers) :])


@pytest.mark.parametrize("cells", [0, 1, 7, 96])
def test_a_single_worker_leaves_nothing_for_others(cells: int) -> None:
    assert fair_share(cells, workers=1) == max(1, cells)


def test_a_whole_grid_starts_with_full_packs_on_two_cores_and_has_none_on_many() -> None:
    assert packs_of(32, workers=2)[:5] == [4] * 5
    assert packs_of(32, workers=16) == [1] * 32
    assert packs_of(32, workers=4)[0] == 4


@pytest.mark.parametrize("canvas", ["R", "RTS"])
@pytest.mark.parametrize("recipe", ["paper", "fast", "smoke"])
def test_small_cells_are_trained_in_larger_packs_and_a_gpu_takes_the_largest(
    canvas: str, recipe: str
) -> None:
    config = parse_config({"distortions": [canvas], "recipe": recipe})
    for cell in resolve(config):
        small = cell.model in ("FCN", "ST-FCN")
        assert largest_pack(cell, gpu=False) == (SMALL_CPU_PACK if small else CPU_PACK)
        assert largest_pack(cell, gpu=True) == GPU_PACK


def test_a_pack_is_the_fair_share_but_no_larger_than_its_device_or_the_settings_allow() -> None:
    cell = make_cell()
    default = Settings(store="store", state="state")
    three = Settings(store="store", state="state", cells_per_pack=3)
    assert pack_size(cell, 5, CORE, workers=2, settings=default) == fair_share(5, workers=2) == 1
    assert pack_size(cell, 500, CORE, 2, default) == largest_pack(cell, gpu=False)
    assert pack_size(cell, 500, GPU, 2, default) == GPU_PACK
    assert pack_size(cell, 500, CORE, 2, three) == pack_size(cell, 500, GPU, 2, three) == 3
    assert pack_size(cell, 2, CORE, 1, three) == 2
