"""The coordinator: a Ray actor that owns the queue, the store's rows and the workers.

Its event loop never waits for a disk: that is done in threads. When it dies its workers end with
it; Ray starts it again, and it goes on from what queue and store hold.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import ray

import stn_cluster
from stn_cluster.cluster.crew import Crew
from stn_cluster.cluster.dispatcher import Dispatcher
from stn_cluster.cluster.history import stored_ends
from stn_cluster.cluster.job import EVERYTHING, CellStatus, Job, JobStatus, Page
from stn_cluster.cluster.ledger import Ledger
from stn_cluster.cluster.messages import Report
from stn_cluster.cluster.metrics import Metrics
from stn_cluster.cluster.queue import FILE, AttemptRow, Queue
from stn_cluster.cluster.record import git_commit
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.state_folder import hold
from stn_cluster.cluster.stored import StoredEnds
from stn_cluster.cluster.threads import Thread
from stn_cluster.errors import EndedError, ServiceError, StoreError
from stn_cluster.faults import reach
from stn_cluster.store import Store, refuse_published

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

RETRY_SECONDS = 2.0
LET_GO_SECONDS = 10.0  # in which a dead predecessor's processes let go of store and state
CLOSE_SECONDS = 30.0  # for the last results to be written
END_SECONDS = 5.0  # after it has stopped, in which its client ends it


class Coordinator:
    """Runs the queue's cells on workers; see `stn_cluster.cluster.client` for who calls it.

    Every public method waits until it serves, and raises a UserError if store or queue cannot be
    used at all.
    """

    def __init__(self, settings: Settings) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        self.settings = settings
        self._held = ExitStack()
        self._stopped = False
        self._queue_thread = Thread("queue")
        self._reader_thread = Thread("queue-reader")
        self._myself = ray.get_runtime_context().current_actor
        self._crew = Crew(settings, self._myself)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        again = ray.get_runtime_context().was_current_actor_reconstructed
        while True:
            try:
                self._ends = await asyncio.to_thread(self._open_files)
                break
            except StoreError as error:
                self._held.close()
                if not again:
                    raise
                # It worked before, so it may work again: a disk or network is away for a while.
                log.error("not open yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        ended, lost = await self._queue_thread(self._queue.recover, self._ends)
        log.info("open: %d cells found ended, %d queued again", ended, len(lost))
        dispatcher = Dispatcher(self.settings, self._queue, self._queue_thread, self._crew)
        ledger = Ledger(
            self._store, self._ends, self._queue, self._queue_thread, dispatcher.committed
        )
        for key, attempt in lost:
            ledger.log_line(key, attempt, "coordinator lost: the cell is queued again")
        dispatcher.start(ledger)
        self._dispatcher = dispatcher

    def _open_files(self) -> StoredEnds:
        refuse_published(self.settings.store)
        state = Path(self.settings.state)
        self._held.enter_context(hold(state, LET_GO_SECONDS))
        # With a queue there was a store: where it is gone (a disk not mounted, say), it may come
        # back, and a new one in its place would hide it.
        new = not (state / FILE).exists()
        self._store = Store.open(self.settings.store, create=new)
        self._held.enter_context(self._store.lock(LET_GO_SECONDS))
        self._store.renew()
        self._queue = Queue(state)
        self._held.callback(self._queue.close)
        self._reader = Queue(state, reads_only=True)
        self._held.callback(self._reader.close)
        with suppress(StoreError):
            self._store.sweep()
        git_commit()  # asks git once, now, rather than when results wait
        return stored_ends(self._store)

    # --- what clients ask ---

    async def version(self) -> str:
        """Of the code that it runs."""
        return stn_cluster.__version__

    async def opened(self) -> Settings:
        """Its settings, once it serves."""
        await self._ready()
        return self.settings

    async def submit(self, job: Job) -> bool:
        """Accepts a job: once this returns it is never lost. Returns whether it is new."""
        await self._ready()
        reach("submit-received")
        new = await self._change(self._queue.submit, job, self._ends)
        self._dispatcher.wake()
        return new

    async def cancel(self, job_id: str) -> None:
        """Drops a job's interest in its cells."""
        await self._ready()
        self._dispatcher.cancelled(await self._change(self._queue.cancel, job_id))
        self._dispatcher.wake()

    async def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells anew; how many cells it waits for now."""
        await self._ready()
        waiting = await self._change(self._queue.retry, job_id, self._ends)
        self._dispatcher.wake()
        return waiting

    async def jobs(self) -> list[JobStatus]:
        """All jobs, oldest first."""
        await self._ready()
        return [self._complete(job) for job in await self._look(self._reader.jobs)]

    async def status(self, job_id: str) -> JobStatus:
        """A job, without its cells."""
        await self._ready()
        status, cost_left = await self._look(self._reader.job, job_id)
        if status.ended:
            return self._complete(status)
        if self._crew.hopeless:
            raise ServiceError(str(self._crew.trouble))
        demand = await self._look(self._reader.demand, job_id)
        cost_left -= self._dispatcher.leases.work_done(job_id)
        eta = self._dispatcher.rate.eta_seconds(cost_left, time.monotonic())
        waiting = self._crew.waiting(demand)
        return replace(self._complete(status), eta_seconds=eta, waiting=waiting)

    async def cells(
        self, job_id: str, page: Page = EVERYTHING
    ) -> tuple[tuple[CellStatus, ...], int]:
        """Some of a job's cells; see `queue.listing.cells`."""
        await self._ready()
        found, last = await self._look(self._reader.cells, job_id, page)
        return tuple(self._with_step(*one) for one in found), last

    async def attempts(self, name: str) -> list[AttemptRow]:
        """The history of a cell, by its key or label."""
        await self._ready()
        return await self._look(self._reader.attempts, name)

    async def metrics(self) -> Metrics:
        """The service in numbers."""
        await self._ready()
        return Metrics(
            await self._look(self._reader.totals),
            workers=self._crew.working,
            images_per_second=self._dispatcher.rate.images_per_second(time.monotonic()),
            in_trouble=bool(self._trouble()),
        )

    async def log_of(self, key: str, attempt: str) -> str | None:
        """An attempt's log so far, or None."""
        await self._ready()
        return await self._dispatcher.ledger.read_log(key, attempt)

    async def stop(self) -> None:
        """Ends the service: running cells are checkpointed, results written, workers let go.

        Raises:
            StoreError: results could not be written; their cells are still queued.
        """
        await self._ready()
        await self._dispatcher.stop()
        self._stopped = True
        try:
            await self._dispatcher.ledger.close(CLOSE_SECONDS)
        finally:
            # In their own threads: closed in the middle of a statement, SQLite crashes.
            await self._reader_thread(self._reader.close)
            await self._queue_thread(self._queue.close)
            self._held.close()
            # Should the client that asked for it be gone by now, nobody else would end the actor.
            asyncio.get_running_loop().call_later(END_SECONDS, ray.kill, self._myself)

    # --- what workers say ---

    async def report(self, worker: str, report: Report) -> set[str]:
        """See `Intake.report`."""
        await self._ready()
        return await self._dispatcher.intake.report(worker, report)

    # --- small things ---

    async def _ready(self) -> None:
        await self._opening
        if self._stopped:
            raise EndedError("the service has ended")
        if self._dispatcher.failure is not None:
            raise self._dispatcher.failure

    def _complete(self, status: JobStatus) -> JobStatus:
        """A job as the queue has it, with what is known of the service."""
        return replace(
            status,
            workers=self._crew.working,
            images_per_second=self._dispatcher.rate.images_per_second(time.monotonic()),
            trouble=self._trouble(),
        )

    def _trouble(self) -> str | None:
        return self._dispatcher.trouble or self._crew.trouble

    def _with_step(self, attempt: str | None, status: CellStatus) -> CellStatus:
        lease = self._dispatcher.leases.get(attempt)
        return status if lease is None else replace(status, step=lease.step)

    async def _change(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Changes the queue for a client, who hears of it if that is not possible."""
        try:
            return await self._queue_thread(call, *args, **kwargs)
        except sqlite3.Error as error:
            path = Path(self.settings.state) / FILE
            raise StoreError(f"{path}: cannot be written, nothing was changed: {error}") from error

    async def _look(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Looks something up, beside those who change the queue."""
        return await self._reader_thread(call, *args, **kwargs)
