"""Packs: cells of one stream that one worker trains side by side, the longest packs first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stn_cluster.grid import Cell
from stn_cluster.registry import lookup

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
        members.sort(key=cost, reverse=True)  # stable: equals stay in the order given
        packs += [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    return sorted(packs, key=total_cost, reverse=True)


def cost(cell: Cell) -> float:
    """An estimate of a cell's training time, in no particular unit."""
    settings = cell.settings
    model = lookup("model", cell.model)
    images = float(str(settings["iterations"])) * float(str(settings["batch_size"]))
    edge = cell.canvas
    if model.spatial:  # what follows the transformer has the size of its output
        edge = int(str(settings.get("transformer_size") or edge))
    return images * model.cost * (edge / 28) ** 2


def total_cost(cells: Iterable[Cell]) -> float:
    """The estimates of several cells, added up."""
    return sum(cost(cell) for cell in cells)
