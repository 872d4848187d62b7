"""The worker pool: starts and stops workers, and tracks their states.

All calls of Ray about workers and nodes are in this module; Ray's errors are translated to
`WorkerLostError` and `WorkerUnavailableError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stn_cluster.cluster.placement import Node, WorkerState, parse_nodes, worker_options
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.ray_exits import exit_of
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.spool import last_output
from stn_cluster.cluster.stalls import StalledPack
from stn_cluster.cluster.worker import ReportCall, RestartedError, Worker
from stn_cluster.errors import storable
from stn_cluster.grid import Needs
from stn_cluster.plain_text import plain_lines
from stn_cluster.queue.attempts import Attempt, WorkerInfo

log = logging.getLogger(__name__)
T = TypeVar("T")

FAILED_START_PAUSE = 2.0  # seconds to wait after a worker failed to start; doubles each time
MAX_PAUSE = 60.0  # seconds
NODES_SECONDS = 30.0  # timeout of Ray's list of nodes
OUTPUT_SECONDS = 5.0  # timeout of the last output of a dead worker on another node


class WorkerLostError(Exception):
    """A worker has died or is unusable. The message says why, for people.

    Args:
        message: the reason.
        node_lost: whether its node was lost or preempted.
    """

    def __init__(self, message: str, node_lost: bool = False) -> None:
        super().__init__(message)
        self.node_lost = node_lost


class WorkerUnavailableError(Exception):
    """The connection to a worker is broken; the worker may still run."""


@dataclass(eq=False)
class WorkerHandle:
    """State of one worker, and all calls of it."""

    name: str
    needs: Needs
    actor: Any
    requested_at: float  # seconds on the monotonic clock
    state: WorkerState = WorkerState.STARTING
    info: WorkerInfo = field(default_factory=lambda: WorkerInfo("", "", ""))  # set once started
    degraded_reason: str | None = None  # why it cannot reach the store
    heard_at: float = 0.0  # of its last sign of life, or when it got its pack; 0 before the first
    accepted: set[str] = field(default_factory=set)  # attempts of its pack with a result
    stall: StalledPack | None = None  # None while its pack makes progress
    task: asyncio.Task[None] | None = None  # task that waits for its pack
    cancel_requested_at: dict[str, float] = field(default_factory=dict)  # by attempt

    async def hello(self) -> WorkerInfo:
        """Waits until it has started; returns its host, device, node and process.

        Raises:
            WorkerLostError: it died.
            WorkerUnavailableError: it cannot be reached at the moment.
        """
        return await _answer(self.actor.hello.remote())

    def train(self, pack: Sequence[Attempt]) -> Awaitable[Report]:
        """Sends it a pack at once; the awaitable ends with the pack, and has its last report. For
        errors, see `hello`."""
        return _answer(self.actor.train.remote(tuple(pack)))

    def stop(self) -> None:
        """Tells it to end its pack at the next step, with checkpoints."""
        self.actor.stop.remote()

    def kill(self) -> None:
        """Kills its process, if it can still be reached."""
        ray.kill(self.actor)


class WorkerPool:
    """Pool of all workers of a service.

    Args:
        settings: settings of the service.
        coordinator: the actor that workers report to.
    """

    def __init__(self, settings: Settings, coordinator: Any) -> None:
        self.settings = settings
        self.workers: dict[str, WorkerHandle] = {}
        self.nodes: list[Node] = []
        self.start_failure: str | None = None  # why no worker starts
        self._report = ReportCall(coordinator)
        self._failed_starts: Counter[str] = Counter()  # in a row, by kind of worker
        self._not_before: dict[str, float] = {}  # seconds on the monotonic clock, by kind
        # Ray's memory monitor takes the newest of the processes that it may restart, and those that
        # it may not restart after them: with no restart, a worker would outlive the coordinator.
        self._worker_class = ray.remote(max_concurrency=4, max_restarts=1)(Worker)

    @property
    def has_given_up(self) -> bool:
        """Whether too many workers in a row failed to start, so that the service gives up."""
        most = self.settings.max_failed_starts
        return most is not None and max(self._failed_starts.values(), default=0) >= most

    @property
    def degraded_reason(self) -> str | None:
        """Reason why a busy worker cannot reach the store; None if all can."""
        busy = (w for w in self.workers.values() if w.state is WorkerState.BUSY)
        return next((w.degraded_reason for w in busy if w.degraded_reason), None)

    @property
    def started_count(self) -> int:
        """Number of workers that have started."""
        return sum(w.state is not WorkerState.STARTING for w in self.workers.values())

    def may_start(self, needs: Needs, now: float) -> bool:
        """Whether workers of a kind may be started now: not for a while after a failed start."""
        return now >= self._not_before.get(needs.text, 0.0)

    def forget_failures(self, wanted: Collection[Needs]) -> None:
        """Forgets failed starts of kinds that nobody wants any more."""
        kinds = {needs.text for needs in wanted}
        for kind in self._failed_starts.keys() - kinds:
            del self._failed_starts[kind]
            self._not_before.pop(kind, None)
        if not self._failed_starts:
            self.start_failure = None

    async def refresh_nodes(self) -> None:
        """Updates the list of nodes from Ray.

        Raises:
            ConnectionError: Ray does not respond.
        """
        try:
            rows = await asyncio.wait_for(asyncio.to_thread(ray.nodes), NODES_SECONDS)
            self.nodes = parse_nodes(rows)
        except TimeoutError as error:
            raise ConnectionError(f"no list of nodes within {NODES_SECONDS:g} s") from error
        except RayError as error:
            raise ConnectionError(cause(error)) from error

    def node_is_lost(self, info: WorkerInfo) -> bool:
        """Whether a worker's node has left the cluster, by the last `refresh_nodes`."""
        return any(node.node_id == info.node and not node.alive for node in self.nodes)

    async def end_of(self, info: WorkerInfo) -> str | None:
        """How a worker's process has ended, for people; None if it lives, or nobody knows."""
        end = await asyncio.to_thread(exit_of, info.process, info.node)
        return None if end is None else end.text

    def start(self, needs: Needs, now: float) -> WorkerHandle | None:
        """Requests a worker from Ray; None if Ray refuses (`start_failure` has the reason)."""
        name = uuid4().hex
        options = worker_options(needs, self.settings)
        device = "cuda" if options["num_gpus"] else "cpu"
        try:
            worker_class = self._worker_class.options(**options)
            actor = worker_class.remote(name, self.settings, device, self._report)
        except (
            Exception
        ) as error:  # Ray has rules of its own, for TPUs for example; raises anything
            self.start_failure = f"no worker can be requested with {options}: {error}"
            return None
        worker = self.workers[name] = WorkerHandle(name, needs, actor, now)
        return worker

    def has_started(self, worker: WorkerHandle, info: WorkerInfo) -> None:
        """Marks a worker as started, after its `hello`."""
        worker.info = info
        worker.state = WorkerState.IDLE
        del self._failed_starts[worker.needs.text]
        if not self._failed_starts:
            self.start_failure = None

    def failed_to_start(self, needs: Needs, error: Exception, now: float) -> None:
        """Records that a worker died before its `hello`; the next start of its kind waits."""
        kind = needs.text
        self._failed_starts[kind] += 1
        count = self._failed_starts[kind]
        self._not_before[kind] = now + min(MAX_PAUSE, FAILED_START_PAUSE * 2 ** (count - 1))
        self.start_failure = f"no worker starts ({count} in a row): {error}"
        log.error("%s", self.start_failure)

    async def last_output(self, name: str, node: str) -> dict[str, bytes]:
        """What a dead worker has printed and not reported: see `spool.last_output`.

        Args:
            name: the worker's.
            node: Ray's id of its node, which must be alive.
        """
        if node == ray.get_runtime_context().get_node_id():
            return await asyncio.to_thread(last_output, name)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        read = ray.remote(last_output).options(num_cpus=0, scheduling_strategy=there)
        try:
            output: dict[str, bytes] = await asyncio.wait_for(read.remote(name), OUTPUT_SECONDS)
        except (TimeoutError, RayError) as error:
            log.warning("the last output of a worker cannot be read: %s", error)
            return {}
        return output

    def remove(self, worker: WorkerHandle) -> None:
        """Kills a worker's process, if it can still be reached, and removes the worker."""
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
    """Informative part of Ray's error, as one line."""
    text = plain_lines(storable(str(error))).partition("Some common causes include")[0]
    if isinstance(error, RayTaskError):  # raised in our code
        return text.strip().splitlines()[-1]
    if isinstance(error, RayActorError):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reasons = [line for line in lines if "because" in line or "Error: " in line]
        reason = (reasons or lines or ["its process died"])[-1]
        return reason.partition(f"{RestartedError.__name__}: ")[2] or reason
    return " ".join(text.split())
