"""Throughput of all workers in images per second, and the estimated time left."""

from __future__ import annotations

from collections import deque

from stn_cluster.evaluations import WorkItem

NOW_SECONDS = 15.0  # window of the present speed
WINDOW_SECONDS = 300.0  # window of the estimate of the time left
SAMPLE_SECONDS = 0.25  # samples closer than this are merged
PAUSE_SECONDS = 5.0  # without a step; between two packs it takes less


class Throughput:
    """Adds up reported training steps. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()  # time, images and cost so far
        self._images = 0.0
        self._cost = 0.0

    def paused(self, now: float) -> bool:
        """Whether nothing has been trained for a while, unless a cell's steps take that long."""
        return not self._samples or now - self._samples[-1][0] > PAUSE_SECONDS

    def begin(self, now: float) -> None:
        """Starts a new measurement when work begins, so that idle time does not count."""
        self._samples = deque([(now, self._images, self._cost)])

    def add(self, item: WorkItem, steps: int, now: float) -> None:
        """Adds new steps of a cell, or of an evaluation, which is one."""
        self._images += steps * item.batch_size
        self._cost += item.cost * steps / max(1, item.iterations)
        sample = (now, self._images, self._cost)
        if len(self._samples) > 1 and now - self._samples[-2][0] < SAMPLE_SECONDS:
            self._samples[-1] = sample
        else:
            self._samples.append(sample)
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()

    def images_per_second(self, now: float) -> float:
        """Training images per second, all workers together, over the last seconds."""
        recent = [sample for sample in self._samples if now - sample[0] <= NOW_SECONDS]
        if len(recent) < 2:
            return 0.0
        (start, before, _), (end, after, _) = recent[0], recent[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def eta_seconds(self, cost_left: float, now: float) -> float | None:
        """Seconds until `cost_left` is done at the recent speed; None if that is unknown."""
        if len(self._samples) < 2 or now - self._samples[-1][0] > WINDOW_SECONDS:
            return None
        start, _, before = self._samples[0]
        if self._cost <= before or now - start < 1:
            return None
        return cost_left * (now - start) / (self._cost - before)
