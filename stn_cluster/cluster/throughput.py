"""Throughput: images a second of all workers, and the time that is left, from recent reports."""

from __future__ import annotations

from collections import deque

from stn_cluster.grid import Cell

NOW_SECONDS = 15.0  # over which the present speed is taken
WINDOW_SECONDS = 300.0  # over which the time that is left is estimated
SAMPLE_SECONDS = 0.25  # samples closer than this are one


class Throughput:
    """Adds up training as it is reported. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, float]] = deque()  # time, images and cost so far
        self._images = 0.0
        self._cost = 0.0

    def begin(self, now: float) -> None:
        """Notes that work begins, where there was none: an idle time is not held against it."""
        self._seen = deque([(now, self._images, self._cost)])

    def add(self, cell: Cell, steps: int, now: float) -> None:
        """Notes that so many new steps of a cell were done."""
        self._images += steps * cell.batch_size
        self._cost += cell.cost * steps / max(1, cell.iterations)
        sample = (now, self._images, self._cost)
        if len(self._seen) > 1 and now - self._seen[-2][0] < SAMPLE_SECONDS:
            self._seen[-1] = sample
        else:
            self._seen.append(sample)
        while now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def images_per_second(self, now: float) -> float:
        """Training images a second, all workers together, over the last seconds."""
        recent = [sample for sample in self._seen if now - sample[0] <= NOW_SECONDS]
        if len(recent) < 2:
            return 0.0
        (start, before, _), (end, after, _) = recent[0], recent[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def eta_seconds(self, cost_left: float, now: float) -> float | None:
        """Seconds until so much is done at the present speed; None before there is one."""
        if len(self._seen) < 2:
            return None
        start, _, before = self._seen[0]
        if self._cost <= before or now - start < 1:
            return None
        return cost_left * (now - start) / (self._cost - before)
