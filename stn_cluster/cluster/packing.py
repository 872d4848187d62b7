"""How many cells of one stream one worker trains side by side."""

from __future__ import annotations

MAX_PACK = 4  # cells; on a CPU more share the stream's cost no better and balance the load worse
PACKS_A_WORKER = 2  # at least, where there are cells enough: so that the last to end are short


def pack_size(queued: int, workers: int) -> int:
    """Cells of the next pack, 1 to `MAX_PACK`.

    Args:
        queued: how many cells wait.
        workers: how many there are to keep busy, at least 1.
    """
    return max(1, min(MAX_PACK, queued // (PACKS_A_WORKER * workers)))
