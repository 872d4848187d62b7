"""The worker pool: starts workers for queued cells, stops idle ones, notices those that die.

All that is asked of Ray about workers and nodes is asked here; what Ray raises is translated to
`WorkerLostError` and `WorkerUnavailableError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from stn_cluster.cluster.placement import Node, WorkerState, parse_nodes, worker_options
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker import ReportCall, Worker
from stn_cluster.errors import storable
from stn_cluster.grid import Needs
from stn_cluster.queue.attempts import Attempt, WorkerInfo

log = logging.getLogger(__name__)
T = TypeVar("T")

FAILED_START_PAUSE = 2.0  # seconds before the next try when a worker fails to start; it doubles
MAX_PAUSE = 60.0


class WorkerLostError(Exception):
    """A worker is gone, or of no use any more. The message says why, for people.

    Args:
        message: why.
        node_lost: its node went with it, or was preempted.
    """

    def __init__(self, message: str, node_lost: bool = False) -> None:
        super().__init__(message)
        self.node_lost = node_lost


class WorkerUnavailableError(Exception):
    """The connection to a worker broke; the worker may live."""


@dataclass(eq=False)
class WorkerHandle:
    """One worker: its state, and every call that is made on it."""

    name: str
    needs: Needs
    actor: Any
    requested_at: float  # seconds on the monotonic clock
    state: WorkerState = WorkerState.STARTING
    info: WorkerInfo = field(default_factory=lambda: WorkerInfo("", "", ""))  # once it has started
    degraded_reason: str | None = None  # why it cannot reach the store
    heard_at: float = 0.0  # when it got its pack, or last sent a heartbeat
    task: asyncio.Task[None] | None = None  # that keeps it busy
    cancel_requested_at: dict[str, float] = field(default_factory=dict)  # by attempt

    async def hello(self) -> WorkerInfo:
        """Waits until it has started; where it runs.

        Raises:
            WorkerLostError: it died.
            WorkerUnavailableError: it cannot be reached now.
        """
        return await _answer(self.actor.hello.remote())

    def train(self, pack: Sequence[Attempt]) -> Awaitable[None]:
        """Hands it a pack now; awaited, this returns when the pack has ended. See `hello`."""
        return _answer(self.actor.train.remote(tuple(pack)))

    def stop(self) -> None:
        """Tells it to end its pack at the next step, with checkpoints."""
        self.actor.stop.remote()

    def kill(self) -> None:
        """Ends its process, if it can still be reached."""
        ray.kill(self.actor)


class WorkerPool:
    """All workers of a service.

    Args:
        settings: the service's.
        coordinator: the actor that workers report to.
    """

    def __init__(self, settings: Settings, coordinator: Any) -> None:
        self.settings = settings
        self.workers: dict[str, WorkerHandle] = {}
        self.nodes: list[Node] = []
        self.start_failure: str | None = None  # why no worker starts
        self._report = ReportCall(coordinator)
        self._failed_starts = 0  # in a row
        self._not_before = 0.0
        self._worker_class = ray.remote(max_concurrency=4, max_restarts=0)(Worker)

    @property
    def has_given_up(self) -> bool:
        """Whether so many workers in a row failed to start that the service is to give up."""
        most = self.settings.max_failed_starts
        return most is not None and self._failed_starts >= most

    @property
    def degraded_reason(self) -> str | None:
        """Why workers in training cannot reach the store, while it lasts."""
        busy = (w for w in self.workers.values() if w.state is WorkerState.BUSY)
        return next((w.degraded_reason for w in busy if w.degraded_reason), None)

    @property
    def started_count(self) -> int:
        """How many workers have started."""
        return sum(w.state is not WorkerState.STARTING for w in self.workers.values())

    def may_start(self, now: float) -> bool:
        """Whether workers may be started now: for a while after a failed start they may not."""
        return now >= self._not_before

    async def refresh_nodes(self) -> None:
        """Asks Ray which nodes there are.

        Raises:
            ConnectionError: Ray does not answer.
        """
        try:
            self.nodes = parse_nodes(await asyncio.to_thread(ray.nodes))
        except RayError as error:
            raise ConnectionError(cause(error)) from error

    def node_is_lost(self, info: WorkerInfo) -> bool:
        """Whether a worker's node has left the cluster, as far as was seen."""
        return any(node.node_id == info.node and not node.alive for node in self.nodes)

    def start(self, needs: Needs, now: float) -> WorkerHandle | None:
        """Asks Ray for a worker; None where it refuses (`start_failure` says why)."""
        name = uuid4().hex
        options = worker_options(needs, self.settings)
        device = "cuda" if options["num_gpus"] else "cpu"
        try:
            worker_class = self._worker_class.options(**options)
            actor = worker_class.remote(name, self.settings, device, self._report)
        except ValueError as error:  # Ray has rules of its own, as for TPUs
            self.start_failure = f"no worker can be asked for with {options}: {error}"
            return None
        worker = self.workers[name] = WorkerHandle(name, needs, actor, now)
        return worker

    def has_started(self, worker: WorkerHandle, info: WorkerInfo) -> None:
        """Notes that a worker has said hello."""
        worker.info = info
        worker.state = WorkerState.IDLE
        self._failed_starts = 0
        self.start_failure = None

    def failed_to_start(self, error: Exception, now: float) -> None:
        """Notes that a worker died before it said hello: the next one is tried after a while."""
        self._failed_starts += 1
        pause = FAILED_START_PAUSE * 2 ** (self._failed_starts - 1)
        self._not_before = now + min(MAX_PAUSE, pause)
        self.start_failure = f"no worker starts ({self._failed_starts} in a row): {error}"
        log.error("%s", self.start_failure)

    def remove(self, worker: WorkerHandle) -> None:
        """Ends a worker's process, if it can still be reached, and forgets it."""
        self.workers.pop(worker.name, None)
        worker.kill()


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except ActorUnavailableError as error:
        raise WorkerUnavailableError(cause(error)) from error
    except RayError as error:
        node_lost = "node has died" in str(error) or bool(getattr(error, "preempted", False))
        raise WorkerLostError(cause(error), node_lost) from error


def cause(error: RayError) -> str:
    """The part of Ray's error that is worth keeping, as one line."""
    text = storable(str(error)).partition("Some common causes include")[0]
    if isinstance(error, RayTaskError):  # raised in our code
        return text.strip().splitlines()[-1]
    if isinstance(error, RayActorError):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = [line for line in lines if "because" in line or "Error: " in line]
        return (said or lines or ["its process died"])[-1]
    return " ".join(text.split())
