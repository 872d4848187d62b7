"""Fake workers without processes: values for placement, and handles that a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from stn_cluster.cluster.placement import Node, WorkerState
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.stalls import StalledPack
from stn_cluster.cluster.worker_pool import WorkerLostError, WorkerPool, WorkerUnavailableError
from stn_cluster.grid import Needs
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.queue.claim import Demand

CORE, TWO_CORES, GPU, BIG = (
    Needs(num_cpus=1),
    Needs(num_cpus=2),
    Needs(num_gpus=1),
    Needs(num_cpus=1, resources={"big": 1}),
)
HERE = WorkerInfo("here", "cpu", "2.11", node="0", process=123)
MANY = 10**6


@dataclass(frozen=True)
class PlacedWorker:
    """The attributes of a worker that placement uses."""

    needs: Needs
    state: WorkerState = WorkerState.IDLE
    requested_at: float = 0.0
    heard_at: float = 0.0


def make_nodes(*resources: dict[str, float]) -> list[Node]:
    """Alive nodes with these resources, named '0', '1' ..."""
    return [Node(str(number), True, amounts) for number, amounts in enumerate(resources)]


def queued(needs: Needs, cells: int = MANY, *, priority: int = 0, job: int = 1) -> Demand:
    """Demand for so many cells that need this."""
    return Demand(needs, cells, priority, job)


class FakeWorker:
    """A `WorkerHandle` without a process: it starts at once, and is handed packs.

    Args:
        name: unlike any other worker's.
        needs: what it was started for.
        requested_at: seconds on the monotonic clock.
        starts: whether it says hello by itself.
        info: where it says it runs.
    """

    def __init__(
        self,
        name: str,
        needs: Needs,
        requested_at: float,
        *,
        starts: bool = True,
        info: WorkerInfo = HERE,
    ) -> None:
        self.name = name
        self.needs = needs
        self.requested_at = requested_at
        self.state = WorkerState.STARTING
        self.info = WorkerInfo("", "", "")
        self.degraded_reason: str | None = None
        self.heard_at = 0.0
        self.stall: StalledPack | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancel_requested_at: dict[str, float] = {}
        self.accepted: set[str] = set()
        self.packs: list[tuple[Attempt, ...]] = []  # all packs that it got
        self.asked_to_stop = False
        self.killed = False
        self._where = info
        self._fault: Exception | None = None
        self._started = asyncio.Event()
        self._call: asyncio.Future[Report] | None = None
        if starts:
            self._started.set()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The last pack that it got."""
        return self.packs[-1]

    @property
    def busy(self) -> bool:
        """Whether it is training a pack."""
        return self._call is not None and not self._call.done()

    async def hello(self) -> WorkerInfo:
        await self._started.wait()
        if self._fault is not None:
            raise self._fault
        return self._where

    def train(self, pack: Sequence[Attempt]) -> Awaitable[Report]:
        self.packs.append(tuple(pack))
        self._call = asyncio.get_running_loop().create_future()
        return self._call

    def stop(self) -> None:
        self.asked_to_stop = True

    def kill(self) -> None:
        self.killed = True

    # --- events that a test triggers ---

    def start(self) -> None:
        """Says hello, if it does not do so by itself."""
        self._started.set()

    def return_pack(self, report: Report | None = None) -> None:
        """Ends its pack, with a last report."""
        assert self._call is not None
        self._call.set_result(report or Report())

    def die(self, message: str = "its process died", node_lost: bool = False) -> None:
        """Dies."""
        self._break(WorkerLostError(message, node_lost))

    def disconnect(self) -> None:
        """Becomes unreachable, but continues to train."""
        self._break(WorkerUnavailableError("the connection broke"))

    def reconnect(self) -> None:
        """Becomes reachable again; the call of its pack is lost."""
        self._fault = None

    def _break(self, fault: Exception) -> None:
        self._fault = fault
        self._started.set()
        if self._call is not None and not self._call.done():
            self._call.set_exception(fault)


class FakePool(WorkerPool):
    """A pool of fake workers on nodes that a test sets, without Ray.

    Args:
        settings: the service's.
        coordinator: stands where Ray's handle would.
    """

    def __init__(self, settings: Settings, coordinator: object = None) -> None:
        super().__init__(settings, coordinator)
        self.nodes = make_nodes({"CPU": 4})
        self.started: list[FakeWorker] = []  # all workers ever started
        self.starting = True  # whether new workers say hello by themselves
        self.ray_failure: str | None = None  # Ray's error message while it does not respond
        self.refreshes = 0  # number of refreshes of the nodes
        self.output: dict[str, dict[str, bytes]] = {}  # what dead workers printed last, by name

    async def last_output(self, name: str, node: str) -> dict[str, bytes]:
        return self.output.pop(name, {})

    @property
    def busy(self) -> list[FakeWorker]:
        """Workers of the pool that have a pack, oldest first."""
        return [w for w in self.started if w.name in self.workers and w.busy]

    async def refresh_nodes(self) -> None:
        self.refreshes += 1
        if self.ray_failure is not None:
            raise ConnectionError(self.ray_failure)

    async def end_of(self, info: WorkerInfo) -> str | None:
        return None  # Ray does not tell

    def start(self, needs: Needs, now: float) -> FakeWorker:  # type: ignore[override]
        worker = FakeWorker(f"worker-{len(self.started)}", needs, now, starts=self.starting)
        self.started.append(worker)
        self.workers[worker.name] = worker  # type: ignore[assignment]
        return worker
