"""A scheduler and a report handler on a real store and a real queue, with fake workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from stn_cluster.cluster.checkpoint_recorder import CheckpointRecorder
from stn_cluster.cluster.leases import Lease, Leases
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.reports import ReportHandler
from stn_cluster.cluster.result_writer import Result
from stn_cluster.cluster.scheduler import Scheduler
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.supervision import CrashLog, Supervisor
from stn_cluster.cluster.throughput import Throughput
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import Attempt, AttemptEnd, Checkpoint, ExitReason
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.submit import cancel
from support.result_writers import WriterUnderTest, make_outcome, wait_until
from support.workers import FakePool, FakeWorker


class CountingLeases(Leases):
    """Leases that count the scheduler's scans for expired ones."""

    scans = 0

    def expired(self, now: float) -> list[Lease]:
        self.scans += 1
        return super().expired(now)


class RecordingSupervisor(Supervisor):
    """Supervisor that records a failure instead of ending the process."""

    def __init__(self, crashes: CrashLog) -> None:
        super().__init__(crashes)
        self.failures: list[BaseException] = []
        self.started: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = super().start(name, work)
        self.started.append(task)
        return task

    def crash(self, name: str, error: BaseException) -> NoReturn:
        self.failures.append(error)
        raise error


class SchedulerUnderTest(WriterUnderTest):
    """All parts of a coordinator, without the coordinator itself.

    Args:
        folder: for the store and the queue.
        settings: fields of `Settings`; by default nothing runs out while a test goes on.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder)
        self.settings = Settings(
            store=str(self.path),
            state=str(folder / "state"),
            **{"heartbeat_seconds": 0.05, "cells_per_pack": 1, **settings},
        )
        self.pool = FakePool(self.settings)
        self.leases = CountingLeases(self.settings.lease_seconds, self.settings.scan_seconds)
        self.throughput = Throughput()
        self.checkpoints = CheckpointRecorder(self.database, self.housekeeping.discard)
        self.supervisor = RecordingSupervisor(CrashLog(folder))
        self.reports = ReportHandler(
            leases=self.leases,
            pool=self.pool,
            throughput=self.throughput,
            results=self.results,
            checkpoints=self.checkpoints,
            housekeeping=self.housekeeping,
        )
        self.scheduler = Scheduler(
            settings=self.settings,
            database=self.database,
            pool=self.pool,
            leases=self.leases,
            throughput=self.throughput,
            results=self.results,
            checkpoints=self.checkpoints,
            housekeeping=self.housekeeping,
            reports=self.reports,
            supervisor=self.supervisor,
        )

    def start(self, recorder: bool = True) -> None:
        """Starts the tasks as a coordinator does; the checkpoint recorder is optional."""
        start = self.supervisor.start
        start("write results", self.results.run(self._committed))
        if recorder:
            start("record checkpoints", self.checkpoints.run())
        self.scheduler.start()

    def _committed(self, results: Sequence[Result]) -> None:
        self.committed += results
        self.scheduler.committed(results)

    async def looks(self, count: int = 3) -> None:
        """Waits until the scheduler has made `count` more plans."""
        enough = self.pool.refreshes + count
        await wait_until(lambda: self.pool.refreshes > enough)

    async def scans(self, count: int = 3) -> None:
        """Waits until the scheduler has scanned the leases `count` more times."""
        enough = self.leases.scans + count
        await wait_until(lambda: self.leases.scans > enough)

    async def workers(self, count: int = 1) -> list[FakeWorker]:
        """Waits until `count` workers have a pack; returns them, oldest first."""
        await wait_until(lambda: len(self.pool.busy) >= count)
        return self.pool.busy

    async def worker(self) -> FakeWorker:
        """Waits until the only worker has a pack; returns it."""
        [worker] = await self.workers()
        return worker

    async def one_running(self) -> tuple[FakeWorker, Attempt]:
        """The one worker and the one attempt that it runs."""
        worker = await self.worker()
        [attempt] = worker.attempts
        return worker, attempt

    async def cancel(self, job_id: str) -> None:
        """Cancels a job, as the coordinator does."""
        self.scheduler.cancel(await self.database.write(cancel, job_id))

    def report(self, worker: FakeWorker, **fields: Any) -> set[str]:
        """Makes a worker send a report."""
        return self.reports.handle(worker.name, Report(**fields))

    def finish(self, worker: FakeWorker, error: str | None = None) -> None:
        """Makes a worker report the results of its pack and end it."""
        ended = {a.id: make_outcome(a, error) for a in worker.attempts}
        self.report(worker, ended=ended)
        worker.return_pack()

    def history(self, key: str) -> list[Attempt]:
        """Attempts at a cell, oldest first."""
        return queries.attempts(self.reader, key)

    def end_of(self, attempt: Attempt) -> AttemptEnd | None:
        """The end of an attempt, if the queue has it."""
        [found] = [a for a in self.history(attempt.cell.key) if a.id == attempt.id]
        return found.end

    def reasons(self, key: str) -> list[ExitReason | None]:
        """Exit reasons of the attempts at a cell; None for a running one."""
        return [a.end.reason if a.end else None for a in self.history(key)]

    def checkpoint_of(self, key: str) -> Checkpoint | None:
        """The checkpoint that a cell would resume from."""
        row = self.reader.execute(
            "SELECT checkpoint_attempt, checkpoint_step FROM cells WHERE key = ?", (key,)
        ).fetchone()
        return Checkpoint(*row) if row[0] is not None else None

    def ended(self) -> bool:
        """Whether all cells of the job have ended."""
        return all(state.ended for state in self.states())

    def count(self, state: CellState) -> int:
        """Number of the job's cells in a state."""
        return self.states().count(state)

    async def close(self) -> None:
        while tasks := [task for task in self.supervisor.started if not task.done()]:
            for task in tasks:  # again and again: Python 3.11's `wait_for` may swallow it
                task.cancel()
            await asyncio.sleep(0)
        await super().close()
        assert self.supervisor.failures == []


@asynccontextmanager
async def scheduler(
    folder: Path, *, recorder: bool = True, **settings: Any
) -> AsyncIterator[SchedulerUnderTest]:
    """Runs a scheduler without jobs within the block, then closes it.

    Args:
        folder: for the store and the queue.
        recorder: whether checkpoints are recorded as they come.
        settings: fields of `Settings`.
    """
    made = SchedulerUnderTest(folder, **settings)
    made.start(recorder)
    try:
        yield made
    finally:
        await made.close()
