"""Coordinator: a Ray actor that owns the queue, the store's rows and the workers.

Its event loop never waits for a disk: disk access runs in threads. If it dies, its workers end with
it, Ray restarts it, and it continues from the queue and the store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

import stn_cluster
from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.compactor import compact_when_idle
from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.leases import Leases
from stn_cluster.cluster.memory import come_last
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.reports import ReportHandler
from stn_cluster.cluster.result_writer import ResultWriter
from stn_cluster.cluster.rows import stored_results
from stn_cluster.cluster.scheduler import Scheduler
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.cluster.supervision import CrashLog, Supervisor
from stn_cluster.cluster.throughput import Throughput
from stn_cluster.cluster.worker_pool import WorkerPool
from stn_cluster.errors import EndedError, ServiceError, StoreError, UserError
from stn_cluster.failpoints import failpoint
from stn_cluster.private_files import umask_for
from stn_cluster.provenance import git_commit
from stn_cluster.queue import notifications, queries, submit
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.claim import demand
from stn_cluster.queue.database import FILE, QueueDatabase
from stn_cluster.queue.finish import recover
from stn_cluster.queue.jobs import (
    ALL_JOBS,
    EVERYTHING,
    CellState,
    CellStatus,
    JobPage,
    JobStatus,
    Metrics,
    Page,
)
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.notifications import Given, Notification
from stn_cluster.queue.submission import Submission
from stn_cluster.store import Store, refuse_published
from stn_cluster.thread_binding import binding_remark
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
TAKEOVER_SECONDS = 10.0  # time for a dead predecessor's processes to release store and state
OPEN_SECONDS = 5.0  # time to open store and queue, once it is to stop
CLOSE_SECONDS = 30.0  # time to write the last results
DEGRADED_CLOSE_SECONDS = 5.0  # the same where a disk is known to be full or away
END_SECONDS = 5.0  # time until it ends itself after it has stopped, if its client does not

_RUNNING = Page(states=(CellState.RUNNING,))


@dataclass(frozen=True)
class _Parts:
    """Parts of a running coordinator, which exist once store and queue are open."""

    database: QueueDatabase
    known: KnownResults
    pool: WorkerPool
    leases: Leases
    throughput: Throughput
    store_thread: SingleThread
    results: ResultWriter
    housekeeping: Housekeeping
    reports: ReportHandler
    scheduler: Scheduler


class Coordinator:
    """Ray actor that runs the queue's cells on workers; called through `CoordinatorClient`.

    Every public method waits until store and queue are open, and raises a UserError if they cannot
    be used.

    Args:
        settings: settings of the service.
        context: Ray's runtime context; default: that of the present actor.
    """

    worker_pool = WorkerPool  # class of the worker pool

    def __init__(self, settings: Settings, context: Any = None) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        if remark := binding_remark():
            log.warning("%s", remark)
        if ray.is_initialized():  # in a process of its own
            os.umask(umask_for(*settings.folders))
        self.settings = settings
        self._held = ExitStack()
        self._stopped = False
        self._crashes = CrashLog(Path(settings.state))
        self._supervisor = Supervisor(self._crashes)
        context = context or ray.get_runtime_context()
        self._myself = context.current_actor
        self._restarted = bool(context.was_current_actor_reconstructed)
        come_last()
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> _Parts:
        try:
            return await self._open_and_recover()
        except UserError:  # every client gets it
            self._end_soon()  # otherwise it would stay if its starter has exited
            raise
        except Exception as error:
            self._supervisor.crash("open store and queue", error)

    async def _open_and_recover(self) -> _Parts:
        if self._restarted:
            self._crashes.begin()
            if verdict := self._crashes.verdict():
                self._end_soon()
                raise EndedError(f"the service has ended: {verdict}")
        while True:
            try:
                store, database, known = await asyncio.to_thread(self._open_files)
                break
            except StoreError as error:
                self._held.close()
                if not self._restarted:
                    raise
                # It worked before, so the failure of the disk or network may be temporary.
                log.error("cannot open store and queue yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        if not self._restarted:
            self._crashes.clear()
            self._crashes.begin()
        return await self._start(store, database, known)

    def _open_files(self) -> tuple[Store, QueueDatabase, KnownResults]:
        if not self.settings.evaluations_only:
            refuse_published(self.settings.store)
        state = Path(self.settings.state)
        self._held.enter_context(lock_state_folder(state, TAKEOVER_SECONDS))
        # If there is a queue, there was a store. If that is missing, its disk may be unmounted, and
        # a new store in its place would hide it later.
        new = not (state / FILE).exists() and not self.settings.evaluations_only
        store = Store.open(self.settings.store, create=new)
        self._held.enter_context(store.lock(TAKEOVER_SECONDS))
        store.renew()
        with suppress(StoreError):
            store.sweep()
            store.finish_compaction()
        git_commit()  # caches the commit now, so that the first results need not wait for git
        known = stored_results(store)
        return store, QueueDatabase(state), known

    async def _start(self, store: Store, database: QueueDatabase, known: KnownResults) -> _Parts:
        # Whoever starts a service is told that the disk is full; one that Ray restarts waits.
        write = database.write_until_done if self._restarted else database.write
        if gone := await write(notifications.set_targets, self.settings.notify):
            log.error("%d notifications are given up: nobody wants them any more", gone)
        ended, requeued = await write(recover, known)
        log.info("recovered: %d cells had ended, %d are requeued", ended, len(requeued))
        settings, start = self.settings, self._supervisor.start
        pool = self.worker_pool(settings, self._myself)
        leases = Leases(settings.lease_seconds, settings.scan_seconds)
        throughput = Throughput()
        thread = SingleThread("store")
        housekeeping = Housekeeping(store=store, thread=thread, database=database)
        results = ResultWriter(
            store=store, thread=thread, known=known, database=database, housekeeping=housekeeping
        )
        checkpoints = CheckpointRecorder(database, housekeeping.discard)
        reports = ReportHandler(
            leases=leases,
            pool=pool,
            throughput=throughput,
            results=results,
            checkpoints=checkpoints,
            housekeeping=housekeeping,
        )
        scheduler = Scheduler(
            settings=settings,
            database=database,
            pool=pool,
            leases=leases,
            throughput=throughput,
            results=results,
            checkpoints=checkpoints,
            housekeeping=housekeeping,
            reports=reports,
            supervisor=self._supervisor,
        )
        for key, attempt in requeued:
            housekeeping.log_requeued(key, attempt)
        start("write results", results.run(scheduler.committed))
        start("keep house", housekeeping.run())
        start("record checkpoints", checkpoints.run())

        def commits() -> int | None:
            return None if scheduler.has_work or results.pending else results.commits

        start("compact the store", compact_when_idle(store, thread, commits))
        scheduler.start()
        return _Parts(
            database=database,
            known=known,
            pool=pool,
            leases=leases,
            throughput=throughput,
            store_thread=thread,
            results=results,
            housekeeping=housekeeping,
            reports=reports,
            scheduler=scheduler,
        )

    # --- clients ---

    async def version(self) -> str:
        """Version of the running code."""
        return stn_cluster.__version__

    async def opened(self) -> Settings:
        """Waits until store and queue are open; returns the settings."""
        await self._parts()
        return self.settings

    async def submit(self, job: Submission) -> bool:
        """Accepts a job; once this returns, it is never lost. Returns whether it is new."""
        parts = await self._parts()
        failpoint("submit-received")
        new = await parts.database.write(submit.submit, job, parts.known)
        parts.scheduler.wake()
        return new

    async def cancel(self, job_id: str) -> None:
        """Cancels a job."""
        parts = await self._parts()
        parts.scheduler.cancel(await parts.database.write(submit.cancel, job_id))
        parts.scheduler.wake()

    async def retry(self, job_id: str) -> int:
        """Queues a job's failed and cancelled cells again; returns the number it now waits for."""
        parts = await self._parts()
        pending = await parts.database.write(submit.retry, job_id, parts.known)
        parts.scheduler.wake()
        return pending

    async def jobs(self, page: JobPage = ALL_JOBS) -> list[JobStatus]:
        """Jobs, without their cells."""
        parts = await self._parts()
        return [self._complete(job, parts) for job in await parts.database.read(queries.jobs, page)]

    async def status(self, job_id: str) -> JobStatus:
        """Status of a job, without its cells."""
        parts = await self._parts()
        queued_status, cost_left = await parts.database.read(queries.job_status, job_id)
        status = self._complete(queued_status, parts)
        if status.ended:
            return status
        if parts.pool.has_given_up:
            raise ServiceError(str(parts.pool.start_failure))
        queued = await parts.database.read(demand, job_id)
        cost_left -= parts.leases.work_done(job_id)
        now, eta = time.monotonic(), None
        if parts.leases.training or not parts.throughput.paused(now):
            eta = parts.throughput.eta_seconds(cost_left, now)
        waiting = parts.scheduler.waiting(queued)
        if parts.scheduler.watchdog.has_lines:
            running, _ = await parts.database.read(queries.cells, job_id, _RUNNING)
            keys = {cell.cell.key for _, cell in running}
            waiting += parts.scheduler.watchdog.lines(keys, now)
        return replace(status, eta_seconds=eta, waiting=waiting)

    async def cells(
        self, job_id: str, page: Page = EVERYTHING
    ) -> tuple[tuple[CellStatus, ...], int]:
        """A page of a job's cells, and the number of the last change; see `queue.queries.cells`."""
        parts = await self._parts()
        statuses, last = await parts.database.read(queries.cells, job_id, page)
        leases = ((parts.leases.get(attempt), status) for attempt, status in statuses)
        cells = (replace(status, step=lease.step) if lease else status for lease, status in leases)
        return tuple(cells), last

    async def attempts(self, name: str) -> list[Attempt]:
        """Attempts at a cell, by its key or label."""
        parts = await self._parts()
        return await parts.database.read(queries.attempts, name)

    async def metrics(self) -> Metrics:
        """Metrics of the service."""
        parts = await self._parts()
        return Metrics(
            await parts.database.read(queries.totals),
            workers=parts.pool.started_count,
            images_per_second=parts.throughput.images_per_second(time.monotonic()),
            degraded=self._degraded_reason(parts) is not None,
        )

    async def log_of(self, key: str, attempt: str) -> str | None:
        """Log of an attempt so far, or None."""
        parts = await self._parts()
        return await parts.housekeeping.read_log(key, attempt)

    async def notifications_due(self, target: str, limit: int) -> list[Notification]:
        """Notifications that may be delivered to a target now, oldest first."""
        parts = await self._parts()
        return await parts.database.read(notifications.due, target, limit)

    async def settle(self, ends: Sequence[Given]) -> list[int]:
        """Takes what became of deliveries; returns the numbers of those that are given up."""
        parts = await self._parts()
        return await parts.database.write(notifications.settle, ends)

    async def stop(self) -> None:
        """Ends the service: checkpoints running cells, writes results, stops workers.

        Raises:
            StoreError: results could not be written; their cells are still queued.
        """
        await asyncio.wait([self._opening], timeout=OPEN_SECONDS)
        if not self._opening.done():  # it waits for a store or a disk, and nothing runs yet
            self._opening.cancel()
            self._end_soon()
        parts = await self._parts()
        await parts.scheduler.stop()
        self._stopped = True
        try:
            degraded = self._degraded_reason(parts) is not None
            seconds = DEGRADED_CLOSE_SECONDS if degraded else CLOSE_SECONDS
            await parts.results.close(seconds)
            with suppress(StoreError, TimeoutError):
                await asyncio.wait_for(parts.housekeeping.write_logs(), seconds)
        finally:
            self._supervisor.cancel_all()
            parts.store_thread.close()
            await parts.database.close()
            self._held.close()
            # The client ends the actor; if it has exited, nobody else would.
            self._end_soon()

    # --- workers ---

    async def report(self, worker: str, report: Report) -> set[str]:
        """Handles a worker's report; see `ReportHandler.handle`."""
        parts = await self._parts()
        try:
            return parts.reports.handle(worker, report)
        except Exception as error:  # otherwise the worker would retry until its lease expires
            self._supervisor.crash("handle a report", error)

    # --- inside ---

    async def _parts(self) -> _Parts:
        """Waits until store and queue are open; returns the parts.

        Raises:
            EndedError: the service has ended, or is about to end.
            UserError: store or queue cannot be used.
        """
        try:
            parts = await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            if self._opening.cancelled():
                raise EndedError("the service was ended before it was open") from None
            raise
        if self._stopped:
            raise EndedError("the service has ended")
        return parts

    def _complete(self, status: JobStatus, parts: _Parts) -> JobStatus:
        """Adds the state of the service to a job's status from the queue."""
        return replace(
            status,
            workers=parts.pool.started_count,
            images_per_second=parts.throughput.images_per_second(time.monotonic()),
            trouble=self._degraded_reason(parts),
        )

    def _degraded_reason(self, parts: _Parts) -> str | None:
        return parts.scheduler.degraded_reason or parts.pool.start_failure

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_later(END_SECONDS, ray.kill, self._myself)
