"""How many cells of one stream one worker trains side by side."""

from __future__ import annotations

from stn_cluster.grid import Cell

PACKS_A_WORKER = 2  # at least, where there are cells enough: so that the last to end are short
GPU_PACK = 16  # cells: each is a branch of one graph, and small ones fill the device only together
# On a CPU a pack saves its cells the distorting, and nothing else. That is much of a small cell's
# step and little of a large one's, and large packs balance the load worse.
CPU_PACK, SMALL_CPU_PACK = 4, 8
SMALL = 5.0  # relative cost of a training image: the fully connected cells are below it


def largest_pack(cell: Cell, gpu: bool) -> int:
    """Cells of a pack that is worth its while, by the device and the pack's costliest cell."""
    if gpu:
        return GPU_PACK
    images = cell.iterations * cell.batch_size
    return SMALL_CPU_PACK if cell.cost / images < SMALL else CPU_PACK


def fair_share(queued: int, workers: int) -> int:
    """Cells that a worker may take at once without leaving another one idle, at least 1.

    Args:
        queued: how many cells wait.
        workers: how many there are to keep busy, at least 1.
    """
    if workers == 1:
        return max(1, queued)
    return max(1, queued // (PACKS_A_WORKER * workers))
