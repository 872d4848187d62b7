"""The workers: asked for as the queue needs them, let go when idle, replaced when they die."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from stn_cluster.cluster.placement import (
    Node,
    described,
    parse_nodes,
    required,
    slots,
    worker_options,
)
from stn_cluster.cluster.protocol import WorkerInfo
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker import Worker
from stn_cluster.grid import Needs
from stn_cluster.queue import Demand, ExitReason

log = logging.getLogger(__name__)

PENDING_SECONDS = 5.0  # a worker that has not begun by then waits for others to make room
STILLBORN_PAUSE = 2.0  # seconds before the next try when a worker dies before it has begun
MAX_PAUSE = 60.0


@dataclass(eq=False)
class WorkerHandle:
    """One worker."""

    name: str
    needs: Needs
    actor: Any
    hired_at: float  # on the monotonic clock
    info: WorkerInfo | None = None  # None until it has begun
    busy: bool = False
    trouble: str | None = None  # what keeps it from the store
    heard_at: float = 0.0  # when it got its pack, or last said something
    task: asyncio.Task[None] | None = None  # that sees to it
    dropping: dict[str, float] = field(default_factory=dict)  # attempts it was told to end: when


class WorkerPool:
    """All workers of a service.

    Args:
        settings: the service's.
        coordinator: the actor that workers report to.
    """

    def __init__(self, settings: Settings, coordinator: Any) -> None:
        self.settings = settings
        self.members: dict[str, WorkerHandle] = {}
        self.nodes: list[Node] = []
        self.trouble: str | None = None  # why no worker comes to life
        self._coordinator = coordinator
        self._stillborn = 0  # in a row
        self._not_before = 0.0
        self._starved: Needs | None = None  # the most urgent kind that waits and has no worker
        self._full = False  # no more workers are allowed
        self._worker_class = ray.remote(max_concurrency=4, max_restarts=0)(Worker)

    @property
    def hopeless(self) -> bool:
        """Whether so many workers died before they began that the service is to give up."""
        most = self.settings.give_up_after
        return most is not None and self._stillborn >= most

    @property
    def storage_trouble(self) -> str | None:
        """What keeps workers from the store, while it lasts."""
        return next((m.trouble for m in self.members.values() if m.trouble), None)

    @property
    def working(self) -> int:
        """How many have begun."""
        return sum(member.info is not None for member in self.members.values())

    async def look(self) -> None:
        """Looks which nodes there are."""
        self.nodes = parse_nodes(await asyncio.to_thread(ray.nodes))

    def node_is_gone(self, info: WorkerInfo | None) -> bool:
        """Whether a worker's node has left the cluster, as far as was seen."""
        return info is not None and any(
            node.node_id == info.node and not node.alive for node in self.nodes
        )

    def capacity(self, needs: Needs) -> int:
        """How many workers of a kind there can be, at least 1."""
        room = slots(required(worker_options(needs, self.settings)), self.nodes)
        limit = self.settings.workers
        return max(1, room if limit is None else min(room, limit))

    def waiting(self, demand: Sequence[Demand]) -> tuple[str, ...]:
        """What queued cells wait for that no present node has."""
        missing = []
        for pool in demand:
            needed = required(worker_options(pool.needs, self.settings))
            if not slots(needed, self.nodes):
                cells = f"{pool.cells} cell{'s wait' if pool.cells > 1 else ' waits'}"
                missing.append(f"{cells} for a node with {described(needed)}")
        return tuple(missing)

    def wanted(self, demand: Sequence[Demand], now: float) -> list[Needs]:
        """What to hire workers for now, and notes who is kept waiting by the others.

        Args:
            demand: what is queued, the most urgent first.
            now: seconds on the monotonic clock.
        """
        if now < self._not_before:
            return []
        hires: list[Needs] = []
        self._starved, self._full = None, False
        limit = self.settings.workers
        present = 0  # those that a node can hold; pending ones beside them just ask for nodes
        for member in self.members.values():
            needed = required(worker_options(member.needs, self.settings))
            present += slots(needed, self.nodes) > 0
        for pool in demand:
            mine = [m for m in self.members.values() if m.needs == pool.needs]
            idle = [m for m in mine if not m.busy]
            if not slots(required(worker_options(pool.needs, self.settings)), self.nodes):
                hires += [] if mine else [pool.needs]  # pending, it makes an autoscaler add a node
                continue
            room = max(0, self.capacity(pool.needs) - len(mine))
            if limit is not None:
                room = min(room, max(0, limit - present))
            if self._in_the_way(pool.needs):
                room = 0  # else they come only to go: one kind needs all at once what they share
            more = min(room, max(0, pool.cells - len(idle)))
            present += more
            hires += [pool.needs] * more
            late = any(m.info is None and now - m.hired_at > PENDING_SECONDS for m in mine)
            begun = any(m.info is not None for m in mine)
            if self._starved is None and not begun and not more and (late or not mine):
                self._starved = pool.needs
        self._full = limit is not None and present >= limit
        return hires

    def yields(self, member: WorkerHandle, demand: Sequence[Demand]) -> bool:
        """Whether a worker between two packs should make room for another kind."""
        if self._starved is None or not self._in_the_way(member.needs):
            return False
        order = [pool.needs for pool in demand]
        if self._starved not in order:  # it has been served since it was seen
            return False
        if member.needs not in order:
            return True
        return order.index(self._starved) < order.index(member.needs)

    def _in_the_way(self, needs: Needs) -> bool:
        """Whether such workers hold what those wait for that are kept waiting."""
        if self._starved is None or self._starved == needs:
            return False
        mine, theirs = (
            required(worker_options(kind, self.settings)) for kind in (needs, self._starved)
        )
        return self._full or not mine.keys().isdisjoint(theirs)

    def hire(self, needs: Needs, now: float) -> WorkerHandle | None:
        """Asks Ray for a worker; None where it refuses (`trouble` says why)."""
        name = uuid4().hex
        options = worker_options(needs, self.settings)
        try:
            worker_class = self._worker_class.options(**options)
            actor = worker_class.remote(name, self.settings, self._coordinator)
        except ValueError as error:  # Ray has rules of its own, as for TPUs
            self.trouble = f"no worker can be asked for with {options}: {error}"
            return None
        member = self.members[name] = WorkerHandle(name, needs, actor, now)
        return member

    def begun(self, member: WorkerHandle, info: WorkerInfo) -> None:
        """A worker has said hello."""
        member.info = info
        self._stillborn = 0
        self.trouble = None

    def stillborn(self, error: RayError, now: float) -> None:
        """A worker died before it said hello: the next one is tried after a while."""
        self._stillborn += 1
        self._not_before = now + min(MAX_PAUSE, STILLBORN_PAUSE * 2 ** (self._stillborn - 1))
        self.trouble = f"no worker starts ({self._stillborn} in a row): {cause(error)}"
        log.error("%s", self.trouble)

    def dismiss(self, member: WorkerHandle) -> None:
        """Ends a worker's process, if it can still be reached."""
        self.members.pop(member.name, None)
        ray.kill(member.actor)


def ending_of(error: RayError, node_is_gone: bool) -> ExitReason:
    """How the attempts of a worker ended that did not come back from a pack."""
    gone = "node has died" in str(error) or getattr(error, "preempted", False)
    return ExitReason.NODE_LOST if gone or node_is_gone else ExitReason.DIED


def cause(error: RayError) -> str:
    """What Ray's error says that is worth keeping."""
    text = str(error).partition("Some common causes include")[0]
    if isinstance(error, RayTaskError):  # raised in our code
        return str(error).strip().splitlines()[-1]
    if isinstance(error, RayActorError):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = [line for line in lines if "because" in line or "Error: " in line]
        return (said or lines or ["its process died"])[-1]
    return " ".join(text.split())
