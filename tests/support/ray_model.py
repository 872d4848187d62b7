"""A model of a Ray cluster and of the scheduler on it, for tests of placement over time.

Its seconds are simulated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stn_cluster.cluster.placement import (
    CPU_PACK,
    Node,
    Plan,
    WorkerState,
    capacity,
    fair_share,
    plan_workers,
    required,
    should_release,
)
from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import Needs
from stn_cluster.queue.claim import Demand

IDLE_SECONDS = 60
START_SECONDS = (1, 2, 4, 8)  # of a worker, from being placed to its hello
PACK_SECONDS = (3, 5, 11, 20)


@dataclass
class ModelWorker:
    """A worker, and the time until which it is busy once it is placed."""

    needs: Needs
    requested_at: float
    state: WorkerState = WorkerState.STARTING
    node: int | None = None  # index of the node that Ray placed it on
    until: float = 0.0
    idle_since: float = 0.0
    heard_at: float = 0.0


class Cluster:
    """Model that places workers in the order of their requests, on any node with room.

    Args:
        nodes: the resources of each.
        limit: of workers.
        seed: of how long everything takes.
    """

    def __init__(self, nodes: Sequence[dict[str, float]], limit: int | None, seed: int) -> None:
        self.settings = Settings(store="store", state="state", workers=limit)
        self.nodes = [Node(str(i), True, resources) for i, resources in enumerate(nodes)]
        self.workers: list[ModelWorker] = []
        self.demand: list[Demand] = []
        self.now = 0.0
        self.started = 0
        self._plan = Plan()
        self._random = random.Random(seed)
        self._free = [dict(resources) for resources in nodes]

    def submit(self, pool: Demand) -> None:
        """Queues cells."""
        self.demand = sorted([*self.demand, pool], key=lambda pool: (-pool.priority, pool.job))

    def second(self) -> Plan:
        """Advances by one second; returns the plan."""
        self.now += 1
        self._plan = plan_workers(self.demand, self.workers, self.nodes, self.settings, self.now)
        for needs in self._plan.start:
            self.started += 1
            self.workers.append(ModelWorker(needs, requested_at=self.now))
        self._place()
        for worker in list(self.workers):
            if worker.node is not None and worker.until <= self.now:
                self._next(worker)
        return self._plan

    def _next(self, worker: ModelWorker) -> None:
        """Continues with a worker that has started or has ended its pack."""
        if worker.state is not WorkerState.IDLE:
            worker.state, worker.idle_since = WorkerState.IDLE, self.now
        if should_release(worker.needs, self._plan, self.demand, self.settings):
            self._leave(worker)
        elif any(pool.needs == worker.needs for pool in self.demand):
            self._claim(worker.needs)
            worker.state = WorkerState.BUSY
            worker.until = self.now + self._random.choice(PACK_SECONDS)
        elif self.now - worker.idle_since >= IDLE_SECONDS:
            self._leave(worker)

    def _claim(self, needs: Needs) -> None:
        pool = next(pool for pool in self.demand if pool.needs == needs)
        workers = capacity(needs, self.nodes, self.settings)
        left = pool.cells - min(CPU_PACK, fair_share(pool.cells, workers))
        self.demand = [other for other in self.demand if other is not pool]
        if left:
            self.submit(replace(pool, cells=left))

    def _place(self) -> None:
        for worker in self.workers:
            needed = required(worker.needs, self.settings)
            for number, free in enumerate(self._free):
                if worker.node is not None:
                    break
                if all(free.get(name, 0) >= amount for name, amount in needed.items()):
                    self._take(number, needed, -1)
                    worker.node = number
                    worker.until = self.now + self._random.choice(START_SECONDS)

    def _leave(self, worker: ModelWorker) -> None:
        assert worker.node is not None
        self.workers.remove(worker)
        self._take(worker.node, required(worker.needs, self.settings), +1)
        self._place()

    def _take(self, node: int, amounts: dict[str, float], sign: int) -> None:
        for name, amount in amounts.items():
            self._free[node][name] += sign * amount
