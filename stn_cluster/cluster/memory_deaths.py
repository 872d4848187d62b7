"""Memory deaths: notices that an actor is killed whenever it starts, as memory is short.

It can then neither answer nor count its deaths itself (see `supervision`); Ray starts it for ever.
"""

from __future__ import annotations

import time
from typing import Any

from stn_cluster.cluster.ray_exits import kills_for_memory, restarts
from stn_cluster.errors import ServiceError

MAX_DEATHS = 3  # within WINDOW_SECONDS
WINDOW_SECONDS = 60.0
LOOK_SECONDS = 1.0  # between two looks at Ray's records


class MemoryDeaths:
    """Deaths of an actor while its answer is waited for.

    Args:
        actor: the coordinator.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._seen: list[tuple[float, int]] = []  # time since 1970, and restarts until then

    def check(self) -> None:
        """Looks at Ray's records, at most once a second; to be called while nobody answers.

        Raises:
            ServiceError: the actor died too often, and memory was short each time.
        """
        now = time.time()
        if self._seen and now - self._seen[-1][0] < LOOK_SECONDS:
            return
        recent = [(at, count) for at, count in self._seen if at > now - WINDOW_SECONDS]
        self._seen = [*recent, (now, restarts(self._actor))]
        first, before = self._seen[0]
        deaths = self._seen[-1][1] - before
        if deaths >= MAX_DEATHS and kills_for_memory(first - LOOK_SECONDS) >= MAX_DEATHS:
            raise ServiceError(
                f"memory is short: Ray's memory monitor killed the coordinator {deaths} times "
                f"within {now - first:.0f} s; start fewer workers, or take a machine with more "
                "memory"
            )
