"""Scheduler: gives packs to workers, follows them, and requeues what they leave behind.

It runs as tasks on the coordinator's event loop:

- `_manage` plans, once a second and whenever something changes, and starts workers;
- `_employ` is the life of one worker: hello, packs, idle, goodbye.

The `Watchdog` ends workers that do not get on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.placement import (
    Plan,
    WorkerState,
    capacity,
    pack_size,
    plan_workers,
    should_release,
    unplaced,
    unsatisfiable,
)
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.reports import ReportHandler
from stn_cluster.cluster.requeuer import Requeuer
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.supervision import Supervisor
from stn_cluster.cluster.throughput import Throughput
from stn_cluster.cluster.watchdog import Watchdog
from stn_cluster.cluster.worker_pool import (
    WorkerHandle,
    WorkerLostError,
    WorkerPool,
    WorkerUnavailableError,
)
from stn_cluster.errors import StoreError
from stn_cluster.evaluations import WorkItem
from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import Attempt, ExitReason
from stn_cluster.queue.claim import Demand, claim, demand
from stn_cluster.queue.database import QueueDatabase

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at what is queued and which nodes there are
MAX_PENDING = 2000  # results in memory; with more, no cell is claimed
STOP_SECONDS = 60.0  # for workers to come to the end of their step
FLUSH_SECONDS = 5.0  # for the queue to take the cells of stopped workers


class Scheduler:
    """Keeps the workers busy with the queue's cells.

    Args:
        settings: the service's.
        database: the queue.
        pool: the workers.
        leases: the running attempts.
        throughput: told when work begins.
        results: gets the failures of cells without retries left.
        checkpoints: flushed before a cell is requeued: it resumes from the newest.
        housekeeping: gets lines for logs.
        reports: gets the last report of a pack, which comes back with it.
        supervisor: runs the tasks.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: QueueDatabase,
        pool: WorkerPool,
        leases: Leases,
        throughput: Throughput,
        results: ResultWriter,
        checkpoints: CheckpointRecorder,
        housekeeping: Housekeeping,
        reports: ReportHandler,
        supervisor: Supervisor,
    ) -> None:
        self.settings = settings
        self.demand: list[Demand] = []
        self._database = database
        self._pool = pool
        self._leases = leases
        self._throughput = throughput
        self._results = results
        self._housekeeping = housekeeping
        self._reports = reports
        self._supervisor = supervisor
        self._requeuer = Requeuer(
            database=database,
            leases=leases,
            results=results,
            checkpoints=checkpoints,
            housekeeping=housekeeping,
            supervisor=supervisor,
            last_output=pool.last_output,
            on_requeue=self.wake,
        )
        self.watchdog = Watchdog(
            settings=settings, pool=pool, leases=leases, requeuer=self._requeuer
        )
        self._plan = Plan()
        self._waiting: tuple[str, ...] = ()  # what the log has on waiting cells
        self._ray_failure: str | None = None  # why Ray does not say which nodes there are
        self._stopping = False
        self._changed = asyncio.Event()  # set, and replaced, when there may be something to do

    @property
    def degraded_reason(self) -> str | None:
        """Why cells cannot be started or finished, while it lasts."""
        return (
            self._database.degraded_reason
            or self._ray_failure
            or self._results.degraded_reason
            or self._pool.degraded_reason
        )

    @property
    def has_work(self) -> bool:
        """Whether cells are queued or running, or it cannot be known, or it is stopping."""
        return bool(self.demand or self._leases or self.degraded_reason or self._stopping)

    def waiting(self, demand: Sequence[Demand]) -> tuple[str, ...]:
        """Lines for people on the nodes and the room that queued cells wait for."""
        nodes, settings, now = self._pool.nodes, self.settings, time.monotonic()
        workers = list(self._pool.workers.values())
        return (
            *unsatisfiable(demand, nodes, settings),
            *unplaced(demand, workers, nodes, settings, now),
        )

    def start(self) -> None:
        """Begins to work."""
        self._supervisor.start("plan workers", self._manage())
        self._supervisor.start("watch workers", self.watchdog.run())

    def wake(self) -> None:
        """Says that there may be something to do."""
        self._changed.set()
        self._changed = asyncio.Event()

    def cancel(self, attempts: Iterable[str]) -> None:
        """Ends attempts that no job wants any more; their workers hear of it at the next
        heartbeat."""
        for attempt in attempts:
            lease = self._leases.get(attempt)
            if lease is not None and not lease.finishing:
                self._leases.end([attempt])
                if worker := self._pool.workers.get(lease.worker):
                    worker.cancel_requested_at[attempt] = time.monotonic()
                self._housekeeping.log_line(
                    lease.attempt, "cancelled: no job wants the cell any more"
                )

    def committed(self, results: Sequence[Result]) -> None:
        """Takes results that have become durable."""
        self._leases.end(result.attempt.id for result in results)

    async def stop(self) -> None:
        """Stops all workers at their next step, with checkpoints, and waits for that."""
        self._stopping = True
        for worker in list(self._pool.workers.values()):
            if worker.state is WorkerState.STARTING and worker.task:
                worker.task.cancel()
            else:
                worker.stop()
        self.wake()
        asked = time.monotonic()
        while self._pool.workers:
            await asyncio.sleep(0.05)
            now = time.monotonic()
            for worker in list(self._pool.workers.values()):
                # One that makes progress is waited for, but not for ever.
                self.watchdog.give_up_if_stuck(worker, asked, now, STOP_SECONDS)
        with suppress(TimeoutError):  # on a full disk; the next coordinator requeues them anyway
            await asyncio.wait_for(self._requeuer.flush(), FLUSH_SECONDS)

    # --- packs ---

    async def _manage(self) -> None:
        """Sees to it that there are the workers that the queue needs."""
        while not self._stopping:
            changed = self._changed
            try:
                await self._pool.refresh_nodes()
                self.demand = await self._database.read(demand, self.settings.only_job)
                await self._requeuer.fail_exhausted()
                self._ray_failure = None
            except ConnectionError as error:
                self._ray_failure = f"Ray does not answer: {error}"
            except StoreError as error:
                log.error("%s", error)
            else:
                if not self._stopping:  # asked again: meanwhile it may have been stopped
                    self._start_workers(time.monotonic())
            await self._database.probe()
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_SECONDS)

    def _start_workers(self, now: float) -> None:
        """Starts what the plan says, and cancels pending workers that no queued cell needs."""
        pool = self._pool
        pool.forget_failures([kind.needs for kind in self.demand])
        startable = [kind for kind in self.demand if pool.may_start(kind.needs, now)]
        workers = list(pool.workers.values())
        self._plan = plan_workers(startable, workers, pool.nodes, self.settings, now)
        for needs in self._plan.start:
            if worker := pool.start(needs, now):
                name = f"employ worker {worker.name}"
                worker.task = self._supervisor.start(name, self._employ(worker))
        waiting = self.waiting(self.demand)
        for text in sorted(set(waiting) - set(self._waiting)):
            log.warning("%s", text)
        self._waiting = waiting
        wanted = [kind.needs for kind in self.demand]
        for worker in list(pool.workers.values()):
            pending = worker.state is WorkerState.STARTING
            if pending and worker.needs not in wanted and worker.task:
                worker.task.cancel()

    async def _employ(self, worker: WorkerHandle) -> None:
        """Keeps one worker busy, and stops it when it has been idle for a while."""
        try:
            self._pool.has_started(worker, await worker.hello())
            while pack := await self._next_pack(worker):
                worker.state, worker.heard_at = WorkerState.BUSY, time.monotonic()
                # A late heartbeat may have told of the last pack.
                worker.cancel_requested_at, worker.degraded_reason = {}, None
                worker.accepted, worker.stall = set(), None
                await self._train(worker, pack)
                worker.state = WorkerState.IDLE
        except (WorkerLostError, WorkerUnavailableError) as error:
            if self._stopping:
                pass
            elif worker.state is WorkerState.STARTING:
                self._pool.failed_to_start(worker.needs, error, time.monotonic())
            else:
                log.warning("a worker on %s is replaced: %s", worker.info.host, error)
        finally:
            self._pool.remove(worker)
            self.wake()

    async def _next_pack(self, worker: WorkerHandle) -> tuple[Attempt, ...]:
        """The pack that the worker is to train next; empty once it is to go."""
        idle_since = time.monotonic()
        while not self._stopping and self._pool.workers.get(worker.name) is worker:
            if should_release(worker.needs, self._plan, self.demand, self.settings):
                break
            changed = self._changed
            if pack := await self._claim(worker):
                return pack
            left = idle_since + self.settings.idle_seconds - time.monotonic()
            if left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, LOOK_SECONDS))
        return ()

    async def _claim(self, worker: WorkerHandle) -> tuple[Attempt, ...]:
        """The next pack for a worker, if there is one and results can be stored."""
        kind = next((d for d in self.demand if d.needs == worker.needs), None)
        if kind is None or self.degraded_reason or self._results.pending > MAX_PENDING:
            return ()
        queued = kind.cells
        workers = capacity(worker.needs, self._pool.nodes, self.settings)

        def size(first: WorkItem) -> int:
            return pack_size(first, queued, worker.needs, workers, self.settings)

        claiming = asyncio.ensure_future(self._claimed(worker, size))
        try:
            pack = await asyncio.shield(claiming)
        except StoreError:
            return ()  # the database says that it is degraded
        except asyncio.CancelledError:  # the worker is given up: the cells are not for it
            self._supervisor.start("return claimed cells", self._return(claiming))
            raise
        # Until the queue is looked at again: what is taken is not there for the next worker.
        left = queued - len(pack) if pack else 0
        counted = [replace(d, cells=left) if d.needs == worker.needs else d for d in self.demand]
        self.demand = [d for d in counted if d.cells]
        return pack

    async def _claimed(
        self, worker: WorkerHandle, size: Callable[[WorkItem], int]
    ) -> tuple[Attempt, ...]:
        """A pack that was claimed for a worker, with its leases.

        These are granted before anything else can be told of the queue's changes since: a job that
        is cancelled just now ends them.
        """
        pack = await self._database.write(
            claim, worker.needs, size, worker.info, self.settings.only_job
        )
        now = time.monotonic()
        if pack and not self._leases and self._throughput.paused(now):
            self._throughput.begin(now)
        for attempt in pack:
            self._leases.grant(Lease(attempt, worker.name, now + self.settings.lease_seconds))
        return pack

    async def _return(self, claiming: asyncio.Future[tuple[Attempt, ...]]) -> None:
        """Queues the cells of a claim again that no worker is there for."""
        with suppress(StoreError):  # then nothing was claimed
            pack = await claiming
            self._leases.end(attempt.id for attempt in pack)
            await self._requeuer.return_claimed(pack)

    async def _train(self, worker: WorkerHandle, pack: tuple[Attempt, ...]) -> None:
        """Has one pack trained.

        Raises:
            WorkerLostError: the worker is of no use any more; its cells have been seen to.
        """
        pack = tuple(attempt for attempt in pack if self._leases.get(attempt.id))
        if not pack:  # cancelled since it was claimed
            return
        for attempt in pack:
            self._housekeeping.log_line(attempt, _opening_line(attempt))
        training = worker.train(pack)
        failpoint("claim-handed-over")
        try:
            report = await self._until_done(worker, training)
            self._reports.handle(worker.name, report)
        except WorkerLostError as error:
            with suppress(ConnectionError):
                await self._pool.refresh_nodes()
            node_lost = (
                error.node_lost
                or self._pool.node_is_lost(worker.info)
                or self.watchdog.was_cut_off(worker)  # it ends itself where it gets no answer
            )
            reason = ExitReason.NODE_LOST if node_lost else ExitReason.DIED
            if not self._stopping:
                await self._requeuer.requeue(worker.name, reason, str(error))
            raise
        finally:
            if self._stopping:  # `stop` waits for the queue, and not for ever
                why = "the service was stopped"
                self._requeuer.begin(worker.name, ExitReason.INTERRUPTED, why)
        if not self._stopping:
            why = "its worker came back without its result"
            await self._requeuer.requeue(worker.name, ExitReason.DIED, why)

    async def _until_done(self, worker: WorkerHandle, training: Awaitable[Report]) -> Report:
        """Waits for a pack's end, also where the connection breaks and the worker lives.

        Returns:
            Its last report.

        Raises:
            WorkerLostError: the worker died, or the pack's training did.
        """
        try:
            return await training
        except WorkerUnavailableError:
            await self._until_reached(worker)
            while any(not lease.finishing for lease in self._leases.of(worker.name)):
                await asyncio.sleep(self.settings.heartbeat_seconds)
            # Whether it is out of `train` nobody knows: it must not get another pack meanwhile.
            raise WorkerLostError("the connection to it broke while it trained") from None

    async def _until_reached(self, worker: WorkerHandle) -> None:
        """Waits until a worker answers, or Ray knows how it died: of a node's end it hears late.

        Raises:
            WorkerLostError: it died.
        """
        while True:
            if end := await self._pool.end_of(worker.info):
                raise WorkerLostError(end)
            try:
                await worker.hello()
            except WorkerUnavailableError:  # for a lease at most: then it is given up
                await asyncio.sleep(self.settings.heartbeat_seconds)
            else:
                return


def _opening_line(attempt: Attempt) -> str:
    item, worker = attempt.item, attempt.worker
    cell = attempt.cell
    beside = f", in a pack of {attempt.pack_size}" if attempt.pack_size > 1 else ""
    return (
        f"{item.label} ({cell.dataset}, {cell.recipe}) for job {attempt.job_id} "
        f"on {worker.host}, {worker.device}, process {worker.process}{beside}"
    )
