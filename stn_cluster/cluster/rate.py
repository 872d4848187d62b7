"""How fast a job goes and how long it still takes, from what has been seen of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from stn_cluster.cluster.job import CellStatus, done

WINDOW_SECONDS = 15.0  # over which the present speed is taken


class Rate:
    """Follows a job's cells."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()  # time, images trained so far
        self._began: tuple[float, float] | None = None  # time, work done by then
        self._resumed_images = 0.0  # what checkpoints brought was not done now
        self._resumed_work = 0.0

    def resume(self, status: CellStatus) -> None:
        """Notes that a cell begins at its step, from a checkpoint."""
        self._resumed_images += _images(status)
        self._resumed_work += _work_done(status)

    def update(self, cells: Iterable[CellStatus]) -> None:
        """Notes where the cells stand."""
        cells = list(cells)
        now = time.monotonic()
        images = sum(_images(status) for status in cells) - self._resumed_images
        if self._began is None:
            self._began = (now, self._work(cells))
        self._seen.append((now, images))
        while now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def images_per_second(self) -> float:
        """Training images a second, all workers together, over the last seconds."""
        if len(self._seen) < 2:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return max(0.0, after - before) / (end - start) if end > start else 0.0

    def eta_seconds(self, cells: Iterable[CellStatus]) -> float | None:
        """Seconds until all have ended, by the cost model; None while there is nothing to go by."""
        cells = list(cells)
        if self._began is None:
            return None
        start, before = self._began
        worked = self._work(cells) - before
        elapsed = time.monotonic() - start
        if worked <= 0 or elapsed < 1:
            return None
        return sum(s.cell.cost - _work_done(s) for s in cells) * elapsed / worked

    def _work(self, cells: Iterable[CellStatus]) -> float:
        return sum(_work_done(status) for status in cells) - self._resumed_work


def _work_done(status: CellStatus) -> float:
    part = 1.0 if done(status.state) else status.step / max(1, status.iterations)
    return status.cell.cost * part


def _images(status: CellStatus) -> float:
    return 0.0 if status.stored else status.step * float(str(status.cell.settings["batch_size"]))
