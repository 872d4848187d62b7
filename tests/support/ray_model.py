"""A model of a Ray cluster and of the dispatcher on it, for tests of who is hired and who goes.

Time is counted in seconds that nobody waits for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stn_cluster.cluster.packing import CPU_PACK, fair_share
from stn_cluster.cluster.placement import Node, required, worker_options
from stn_cluster.cluster.protocol import WorkerInfo
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerPool
from stn_cluster.grid import Needs
from stn_cluster.queue import Demand

IDLE_SECONDS = 60
START_SECONDS = (1, 2, 4, 8)  # of a worker, from being placed to its hello
PACK_SECONDS = (3, 5, 11, 20)


@dataclass
class Place:
    """Where a worker's process is, and until when it is at something."""

    node: int
    until: float
    idle_since: float = 0.0


class Cluster:
    """Workers are placed in the order in which they were asked for, wherever there is room.

    Args:
        nodes: the resources of each.
        limit: of workers.
        seed: of how long everything takes.
    """

    def __init__(self, nodes: Sequence[dict[str, float]], limit: int | None, seed: int) -> None:
        self.settings = Settings("store", "state", workers=limit)
        self.crew = WorkerPool(self.settings, coordinator=None)
        self.crew.nodes = [Node(str(i), True, resources) for i, resources in enumerate(nodes)]
        self.demand: list[Demand] = []
        self.now = 0.0
        self.hired = 0
        self._random = random.Random(seed)
        self._free = [dict(resources) for resources in nodes]
        self._places: dict[str, Place] = {}

    @property
    def cells(self) -> int:
        """How many cells wait."""
        return sum(pool.cells for pool in self.demand)

    def submit(self, pool: Demand) -> None:
        """Queues cells."""
        self.demand = sorted([*self.demand, pool], key=lambda pool: (-pool.priority, pool.job))

    def needed(self, needs: Needs) -> dict[str, float]:
        """The resources of a worker for such cells."""
        return required(worker_options(needs, self.settings))

    def second(self) -> list[Needs]:
        """Goes on by one; returns whom the crew hired."""
        self.now += 1
        wanted = self.crew.wanted(self.demand, self.now)
        for needs in wanted:
            name = f"worker-{self.hired}"
            self.hired += 1
            self.crew.members[name] = WorkerHandle(name, needs, actor=None, hired_at=self.now)
        self._place()
        for member in list(self.crew.members.values()):
            place = self._places.get(member.name)
            if place and place.until <= self.now:
                self._next(member, place)
        return wanted

    def _next(self, member: WorkerHandle, place: Place) -> None:
        """What a worker does that has begun, or has come to the end of its pack."""
        if member.info is None:
            self.crew.begun(member, WorkerInfo("", "", ""))
            place.idle_since = self.now
        if member.busy:
            member.busy, place.idle_since = False, self.now
        if self.crew.yields(member, self.demand):
            self._leave(member, place)
        elif any(pool.needs == member.needs for pool in self.demand):
            self._claim(member.needs)
            member.busy, place.until = True, self.now + self._random.choice(PACK_SECONDS)
        elif self.now - place.idle_since >= IDLE_SECONDS:
            self._leave(member, place)

    def _claim(self, needs: Needs) -> None:
        pool = next(pool for pool in self.demand if pool.needs == needs)
        left = pool.cells - min(CPU_PACK, fair_share(pool.cells, self.crew.capacity(needs)))
        others = [other for other in self.demand if other is not pool]
        self.demand = others
        if left:
            self.submit(replace(pool, cells=left))

    def _place(self) -> None:
        for member in self.crew.members.values():
            needed = self.needed(member.needs)
            for number, free in enumerate(self._free):
                if member.name in self._places:
                    break
                if all(free.get(name, 0) >= amount for name, amount in needed.items()):
                    self._take(number, needed, -1)
                    start = self._random.choice(START_SECONDS)
                    self._places[member.name] = Place(number, self.now + start)

    def _leave(self, member: WorkerHandle, place: Place) -> None:
        del self.crew.members[member.name], self._places[member.name]
        self._take(place.node, self.needed(member.needs), +1)
        self._place()

    def _take(self, node: int, amounts: dict[str, float], sign: int) -> None:
        for name, amount in amounts.items():
            self._free[node][name] += sign * amount
