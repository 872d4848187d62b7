"""A limit on how often one client may ask for what is expensive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_CLIENTS = 1000  # that are remembered; the oldest are forgotten


class RateLimit:
    """Lets each client ask `burst` times at once, and `per_second` times a second on average.

    A token bucket; it may be asked from several threads.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def wait(self, client: str) -> float:
        """Seconds until a client may ask again; 0: now, which is counted."""
        now = self._clock()
        with self._lock:
            tokens, counted = self._left.pop(client, (float(self._burst), now))
            tokens = min(self._burst, tokens + (now - counted) * self._per_second)
            allowed = tokens >= 1
            self._left[client] = (tokens - 1 if allowed else tokens, now)
            while len(self._left) > MOST_CLIENTS:
                del self._left[next(iter(self._left))]
        return 0.0 if allowed else (1 - tokens) / self._per_second
