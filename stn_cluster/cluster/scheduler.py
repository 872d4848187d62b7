"""Gives packs to workers, follows them, and sees to what they leave behind when they end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from ray.exceptions import ActorUnavailableError, RayError

from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.packing import fair_share, largest_pack
from stn_cluster.cluster.placement import worker_options
from stn_cluster.cluster.protocol import Checkpoint, WorkerInfo
from stn_cluster.cluster.reports import ReportHandler
from stn_cluster.cluster.result_writer import Result, ResultWriter
from stn_cluster.cluster.rows import Attempt
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.threads import Thread
from stn_cluster.cluster.throughput import Throughput
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerPool, cause, ending_of
from stn_cluster.failpoints import failpoint
from stn_cluster.grid import Cell
from stn_cluster.queue import Claim, Demand, ExitReason, Loss, Queue, Spent
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECONDS = 1.0  # between two looks at what is queued and which nodes there are
RETRY_SECONDS = 2.0
MAX_WAITING = 2000  # results in memory; with more, no cell is begun
STOP_SECONDS = 60.0  # for workers to come to the end of their step


class Scheduler:
    """The coordinator's other half: it lives on the same event loop.

    Args:
        settings: the service's.
        queue: the truth about work.
        queue_thread: where it is used.
        crew: the workers.
    """

    def __init__(
        self, settings: Settings, queue: Queue, queue_thread: Thread, crew: WorkerPool
    ) -> None:
        self.settings = settings
        self.crew = crew
        self.leases = Leases(settings.lease_seconds, settings.scan_seconds)
        self.rate = Throughput()
        self.demand: list[Demand] = []
        self.failure: BaseException | None = None  # an error of our own: nothing can be relied on
        self._queue = queue
        self._queue_thread = queue_thread
        self._queue_trouble: str | None = None
        self._stopping = False
        self._changed = asyncio.Event()  # set, and replaced, when there may be something to do
        self._tasks: set[asyncio.Task[None]] = set()
        self._losing: set[asyncio.Task[None]] = set()  # that tell the queue of losses
        self._failing: set[str] = set()  # spent cells on their way to the store, by key

    @property
    def trouble(self) -> str | None:
        """What keeps cells from being begun or ended, while it lasts."""
        return self._queue_trouble or self.ledger.trouble or self.crew.storage_trouble

    def start(self, ledger: ResultWriter) -> None:
        """Begins to work, and to write into the ledger."""
        self.ledger = ledger
        self.intake = ReportHandler(
            self.leases, self.crew, ledger, self.rate, self._name_checkpoints
        )
        for task in self.ledger.tasks:
            self.watch_over(task)
        self._spawn(self._fail_spent())
        self._spawn(self._manage())
        self._spawn(self._scan())

    def wake(self) -> None:
        """Says that there may be something to do."""
        self._changed.set()
        self._changed = asyncio.Event()

    def cancelled(self, attempts: Iterable[str]) -> None:
        """Ends attempts that nobody wants any more; their workers hear of it at their next word."""
        for attempt in attempts:
            lease = self.leases.get(attempt)
            if lease is not None and not lease.ending:
                self.leases.end([attempt])
                if member := self.crew.members.get(lease.worker):
                    member.dropping[attempt] = time.monotonic()
                self._log(lease, "cancelled: no job wants the cell any more")

    def committed(self, results: Sequence[Result]) -> None:
        """Hears of results that have become durable."""
        self.leases.end(result.attempt.attempt for result in results)
        self._failing -= {result.outcome.key for result in results}

    async def stop(self) -> None:
        """Stops all workers at their next step, with checkpoints, and waits for that."""
        self._stopping = True
        for member in list(self.crew.members.values()):
            if member.info is None and member.task:
                member.task.cancel()
            else:
                member.actor.stop.remote()
        self.wake()
        deadline = time.monotonic() + STOP_SECONDS
        while self.crew.members and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for member in list(self.crew.members.values()):
            await self._give_up(member, ExitReason.INTERRUPTED, "it did not stop in time")
        await asyncio.gather(*self._losing)
        for task in self._tasks:
            task.cancel()

    # --- packs ---

    async def _manage(self) -> None:
        """Sees to it that there are the workers that the queue needs."""
        while not self._stopping:
            changed = self._changed
            try:
                await self.crew.look()
                only = self.settings.only_job
                self.demand = await self._queue_thread(self._queue.demand, only)
                self._queue_trouble = None
            except (sqlite3.Error, RayError) as error:
                self._queue_trouble = f"{self.settings.state}: {error}"
            else:
                now = time.monotonic()
                for needs in self.crew.wanted(self.demand, now):
                    if member := self.crew.hire(needs, now):
                        member.task = self._spawn(self._employ(member))
                self._let_pending_go()
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_SECONDS)

    def _let_pending_go(self) -> None:
        """Takes back what was asked of Ray for cells that have left the queue since."""
        wanted = [pool.needs for pool in self.demand]
        for member in list(self.crew.members.values()):
            if member.info is None and member.needs not in wanted and member.task:
                member.task.cancel()

    async def _employ(self, member: WorkerHandle) -> None:
        """Keeps one worker busy, and lets it go when it has been idle for a while."""
        try:
            self.crew.begun(member, await member.actor.hello.remote())
            while claims := await self._next_pack(member):
                member.busy, member.heard_at = True, time.monotonic()
                await self._train(member, claims)
                member.busy, member.dropping = False, {}
        except RayError as error:
            if self._stopping:
                pass
            elif member.info is None:
                self.crew.stillborn(error, time.monotonic())
            else:
                log.warning("a worker on %s is replaced: %s", member.info.host, cause(error))
        finally:
            self.crew.dismiss(member)
            self.wake()

    async def _next_pack(self, member: WorkerHandle) -> tuple[Claim, ...]:
        """What the worker is to train next; nothing once it is to go."""
        idle_since = time.monotonic()
        while not self._stopping and not self.crew.yields(member, self.demand):
            changed = self._changed
            if claims := await self._claim(member):
                return claims
            left = idle_since + self.settings.idle_seconds - time.monotonic()
            if left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, LOOK_SECONDS))
        return ()

    async def _claim(self, member: WorkerHandle) -> tuple[Claim, ...]:
        """The next pack for a worker, if there is one and results can be stored."""
        place = next((i for i, d in enumerate(self.demand) if d.needs == member.needs), None)
        if place is None or self.trouble or self.ledger.waiting > MAX_WAITING:
            return ()
        pool = self.demand[place]
        share = fair_share(pool.cells, self.crew.capacity(member.needs))
        gpu = bool(worker_options(member.needs, self.settings)["num_gpus"])
        most = self.settings.cells_per_pack

        def size(first: Cell) -> int:
            return min(share, most or largest_pack(first, gpu))

        assert member.info is not None
        try:
            claims = await self._queue_thread(
                self._queue.claim, member.needs, size, member.info, self.settings.only_job
            )
        except sqlite3.Error as error:
            self._queue_trouble = f"{self.settings.state}: {error}"
            return ()
        # Until the queue is looked at again: what is taken is not there for the next worker.
        left = pool.cells - len(claims) if claims else 0
        self.demand = [
            Demand(d.needs, left, d.priority, d.job) if d.needs == member.needs else d
            for d in self.demand
            if d.needs != member.needs or left
        ]
        return claims

    async def _train(self, member: WorkerHandle, claims: tuple[Claim, ...]) -> None:
        """Has one pack trained.

        Raises:
            RayError: the worker died, or is of no use any more; its cells have been seen to.
        """
        now = time.monotonic()
        if not self.leases:
            self.rate.begin(now)
        assert member.info is not None
        for claim in claims:
            lease = Lease(claim, member.name, now + self.settings.lease_seconds)
            self.leases.grant(lease)
            self._log(lease, _beginning(lease, member.info))
        call = member.actor.train.remote(tuple(claim.assignment for claim in claims))
        failpoint("claim-handed-over")
        try:
            await self._until_done(member, call)
        except RayError as error:
            await self.crew.look()
            ending = ending_of(error, self.crew.node_is_gone(member.info))
            ending = ExitReason.INTERRUPTED if self._stopping else ending
            await self._lose(member.name, ending, cause(error))
            raise
        if self._stopping:
            await self._lose(member.name, ExitReason.INTERRUPTED, "the service was stopped")
        else:
            await self._lose(
                member.name, ExitReason.DIED, "its worker came back without its result"
            )

    async def _until_done(self, member: WorkerHandle, call: Awaitable[None]) -> None:
        """Waits for a pack's end, also where the connection breaks and the worker lives.

        Raises:
            RayError: the worker died, or the pack's training did.
        """
        try:
            await call
        except ActorUnavailableError:
            await self._until_reached(member)
            while any(not lease.ending for lease in self.leases.of(member.name)):
                await asyncio.sleep(self.settings.beat_seconds)

    async def _until_reached(self, member: WorkerHandle) -> None:
        """Waits until a worker answers, or Ray knows how it died: of a node's end it hears late.

        Raises:
            RayError: it died.
        """
        while True:
            try:
                await member.actor.hello.remote()
            except ActorUnavailableError:  # for a lease at most: then it is given up
                await asyncio.sleep(self.settings.beat_seconds)
            else:
                return

    # --- what does not come back ---

    async def _lose(self, worker: str, ending: ExitReason, why: str) -> None:
        """Queues again what a worker held; fails what has used up its attempts."""
        lost = self.leases.end([x.attempt for x in self.leases.of(worker) if not x.ending])
        if not lost:
            return
        for lease in lost:
            self._log(lease, f"{ending}: {why}")
            log.warning("%s is queued again: %s: %s", lease.cell.label, ending, why)
        losses = [Loss(lease.attempt, ending, why) for lease in lost]
        # In a task of its own: whoever called may be cancelled, and the queue must hear of it.
        task = self._spawn(self._queue_again(losses))
        self._losing.add(task)
        task.add_done_callback(self._losing.discard)
        await asyncio.shield(task)

    async def _queue_again(self, losses: Sequence[Loss]) -> None:
        await self._persist(self._queue.lose, losses)
        await self._fail_spent()
        self.wake()

    async def _give_up(self, member: WorkerHandle, ending: ExitReason, why: str) -> None:
        """Does without a worker that does not answer, or does not do what it is told."""
        self.crew.dismiss(member)
        if member.task:
            member.task.cancel()
        await self._lose(member.name, ending, why)

    async def _fail_spent(self) -> None:
        for cell in await self._persist(self._queue.spent):
            if cell.cell.key not in self._failing:
                self._failing.add(cell.cell.key)
                self.ledger.add(_failure(cell))

    async def _scan(self) -> None:
        """Looks again and again for workers that are not heard of."""
        while True:
            await asyncio.sleep(self.settings.scan_seconds)
            now = time.monotonic()
            silent = {lease.worker for lease in self.leases.expired(now)}
            for name in silent:
                member = self.crew.members.get(name)
                gone = member is not None and self.crew.node_is_gone(member.info)
                ending = ExitReason.NODE_LOST if gone else ExitReason.EXPIRED
                why = f"its worker was not heard of for {self.settings.lease_seconds:g} s"
                if member is None:
                    await self._lose(name, ending, why)
                else:
                    await self._give_up(member, ending, why)
            for member in list(self.crew.members.values()):
                told_at = min(member.dropping.values(), default=now)
                if now - told_at > self.settings.grace_seconds:
                    why = "its worker was ended with a cancelled cell that did not stop"
                    await self._give_up(member, ExitReason.INTERRUPTED, why)
                elif member.busy and now - member.heard_at > 2 * self.settings.lease_seconds:
                    await self._give_up(member, ExitReason.EXPIRED, "its worker does not come back")

    # --- small things ---

    async def _persist(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Changes the queue, again and again until its disk takes it."""
        while True:
            try:
                return await self._queue_thread(call, *args, **kwargs)
            except sqlite3.Error as error:
                self._queue_trouble = f"{self.settings.state}: {error}"
                log.error("the queue cannot be written: %s", self._queue_trouble)
                await asyncio.sleep(RETRY_SECONDS)

    async def _name_checkpoints(self, saved: Sequence[Checkpoint]) -> list[tuple[str, Checkpoint]]:
        return await self._persist(self._queue.note_checkpoint, saved)

    def _log(self, lease: Lease, text: str) -> None:
        self.ledger.log_line(lease.cell.key, lease.attempt, text)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self.watch_over(asyncio.create_task(work))

    def watch_over(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Notes if a task fails that should not."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("a task of the coordinator failed", exc_info=error)
            self.failure = error


def _beginning(lease: Lease, info: WorkerInfo) -> str:
    beside = f", in a pack of {lease.claim.pack_size}" if lease.claim.pack_size > 1 else ""
    return (
        f"{lease.cell.label} ({lease.cell.dataset}, {lease.cell.recipe}) for job "
        f"{lease.claim.job_id} on {info.host}, {info.device}, process {info.process}{beside}"
    )


def _failure(spent: Spent) -> Result:
    """What is stored of a cell that has used up its attempts."""
    told = "\n".join(f"{number}. {why}" for number, why in enumerate(spent.reasons, 1))
    error = f"given up after these ends:\n{told}"
    attempt = Attempt(
        job_id=spent.job_id,
        cell=spent.cell,
        attempt=spent.attempt,
        started_at=spent.started_at,
        worker=spent.worker,
        pack_size=spent.pack_size,
    )
    return Result(attempt, Outcome(key=spent.cell.key, error=error))
