"""Packs: cells of one stream that one worker trains side by side, the longest packs first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stn_cluster.grid import Cell

MAX_PACK = 4  # cells; on a CPU more share the stream's cost no better and balance the load worse
PACKS_A_WORKER = 2  # at least, where there are cells enough


def form_packs(cells: Sequence[Cell], workers: int) -> list[tuple[Cell, ...]]:
    """Groups cells by stream and like cost.

    Args:
        cells: to be trained.
        workers: how many there are to keep busy.

    Returns:
        Packs of 1 to `MAX_PACK` cells, costliest first: so that the last to end are short ones.
    """
    size = max(1, min(MAX_PACK, len(cells) // (PACKS_A_WORKER * workers)))
    streams: dict[tuple[str | int, ...], list[Cell]] = {}
    for cell in cells:
        streams.setdefault(cell.stream, []).append(cell)
    packs = []
    for members in streams.values():
        members.sort(key=lambda cell: cell.cost, reverse=True)  # stable: equals keep their order
        packs += [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    return sorted(packs, key=total_cost, reverse=True)


def total_cost(cells: Iterable[Cell]) -> float:
    """The cells' estimated training times, added up."""
    return sum(cell.cost for cell in cells)
