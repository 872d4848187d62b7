"""The coordinator: an actor that gives packs to workers and their results to the store.

It alone writes the store's rows. Its event loop never waits for a disk: that is done in threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError

from stn_cluster.cluster.history import stored_cells
from stn_cluster.cluster.job import CellStatus, Job, JobStatus, State, done, labels, reason
from stn_cluster.cluster.messages import STATE, Assignment, Report, WorkerInfo, utc_now
from stn_cluster.cluster.packing import form_packs
from stn_cluster.cluster.rate import Rate
from stn_cluster.cluster.record import Attempt, failure, git_commit, to_record
from stn_cluster.cluster.state_folder import hold
from stn_cluster.cluster.worker import Worker
from stn_cluster.errors import StoreError
from stn_cluster.grid import Cell
from stn_cluster.store import Record, Store
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)

COMMIT_RETRY_SECONDS = 2.0
MAX_STILLBORN = 3  # workers in a row that die before they answer


@dataclass(frozen=True)
class Settings:
    """How a coordinator works."""

    store: str  # URI
    state: str  # the folder on this machine that one service holds
    data_root: str | None
    workers: int
    gpu: bool  # workers have a GPU each, instead of a core
    threads_per_worker: int
    checkpoint_seconds: float


@ray.remote(num_cpus=0)
class Coordinator:
    """Runs a job's cells on workers; see `stn_cluster.cluster.client` for who calls it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._held = ExitStack()
        self._job: Job | None = None
        self._cells: dict[str, CellStatus] = {}
        self._packs: deque[tuple[Cell, ...]] = deque()
        self._resume: dict[str, str] = {}  # key -> the attempt whose checkpoint is gone on from
        self._workers: dict[int, Any] = {}
        self._uncommitted: list[Record] = []
        self._committing = asyncio.Lock()
        self._trouble: str | None = None
        self._stopping = False
        self._rate = Rate()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Opens the store and keeps other services off it.

        Raises:
            StoreError: the store cannot be used, or another service holds it.
        """
        self.store = Store.open(self.settings.store, create=True)
        self._held.enter_context(self.store.lock())
        self._held.enter_context(hold(Path(self.settings.state)))
        git_commit()  # asks git once, now, rather than when results wait

    def close(self) -> None:
        """Lets go of the store."""
        self._held.close()

    async def submit(self, job: Job) -> JobStatus:
        """Starts a job; cells that the store holds are taken from there, unless forced."""
        if job.force:
            cells = stored_cells(job.cells, None)
        else:
            cells = await asyncio.to_thread(stored_cells, job.cells, self.store)
        self._job = job
        self._cells = {status.cell.key: status for status in cells}
        waiting = [c for c in job.cells if not done(self._cells[c.key].state)]
        if not job.force:
            self._resume = await asyncio.to_thread(self._checkpoints, waiting)
        record = {
            "job_id": job.job_id,
            "submitted_at": utc_now().isoformat(),
            "config": json.loads(job.config),
            "folder": job.folder,
            "cells": [cell.model_dump(mode="json") for cell in job.cells],
        }
        await asyncio.to_thread(self.store.write_job, job.job_id, record)
        self._packs.extend(form_packs(waiting, self.settings.workers))
        count = min(self.settings.workers, len(self._packs))
        self._tasks = [asyncio.create_task(self._employ(slot)) for slot in range(count)]
        return self.status()

    def status(self) -> JobStatus:
        """The job at this moment."""
        assert self._job is not None
        cells = tuple(self._cells[cell.key] for cell in self._job.cells)
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
        return JobStatus(
            job_id=self._job.job_id,
            cells=cells,
            workers=len(self._workers),
            images_per_second=self._rate.images_per_second(),
            eta_seconds=self._rate.eta_seconds(cells),
            trouble=self._trouble,
        )

    async def stop(self) -> None:
        """Stops all workers at their next step, with checkpoints, and waits for that."""
        self._stopping = True
        self._packs.clear()
        for worker in list(self._workers.values()):
            worker.stop.remote()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- workers ---

    async def _employ(self, slot: int) -> None:
        """Keeps one worker busy until no pack is left; replaces it where it dies.

        Raises:
            RayError: workers die again and again before they have begun.
        """
        stillborn = 0
        while self._packs:
            worker = self._hire()
            self._workers[slot] = worker
            try:
                info = await worker.info.remote()
                stillborn = -1  # it lives: whatever ends it now is not its beginning
                while self._packs:
                    await self._train(worker, info, self._packs.popleft())
            except RayError as error:
                log.warning("worker %d is replaced: %s", slot, reason(str(error)))
                stillborn += 1
                if stillborn >= MAX_STILLBORN:
                    raise
            finally:
                self._workers.pop(slot, None)
                ray.kill(worker)

    def _hire(self) -> Any:
        settings = self.settings
        needs = {"num_gpus": 1} if settings.gpu else {"num_cpus": 1}
        return Worker.options(**needs).remote(  # type: ignore[attr-defined]
            settings.store,
            settings.data_root,
            settings.threads_per_worker,
            settings.checkpoint_seconds,
        )

    async def _train(self, worker: Any, info: WorkerInfo, pack: tuple[Cell, ...]) -> None:
        """Has one pack trained; commits each cell when it ends.

        Raises:
            RayError: the worker died, or is of no use any more; its cells have been seen to.
        """
        assignments = tuple(
            Assignment(cell, uuid4().hex, self._resume.get(cell.key)) for cell in pack
        )
        attempts = {
            a.cell.key: Attempt(self._job_id, a.cell, a.attempt, utc_now(), info, len(pack))
            for a in assignments
        }
        for cell in pack:
            self._set(cell.key, State.RUNNING)
        try:
            reports = worker.train.options(num_returns="streaming").remote(assignments)
            async for reference in reports:
                report: Report = await reference
                self._follow(report)
                await self._end([(attempts.pop(o.key), o) for o in report.ended])
        except RayError as error:
            await self._bury(list(attempts.values()), error)
            raise
        if attempts and not self._stopping:
            raise RuntimeError(f"a worker left cells undone: {', '.join(attempts)}")
        for key in attempts:
            self._set(key, State.QUEUED)

    async def _bury(self, lost: list[Attempt], error: RayError) -> None:
        """Sees to the cells of a dead worker: tried again alone, or failed if they were alone."""
        if self._stopping:
            return
        if len(lost) == 1 and lost[0].pack_size == 1:
            await self._end([(lost[0], failure(lost[0].cell, f"its worker died: {error}"))])
            return
        cells = [attempt.cell for attempt in lost]
        log.warning("queued again, each alone: %s", labels(cells))
        self._resume |= await asyncio.to_thread(self._own_checkpoints, lost)
        for cell in cells:
            self._set(cell.key, State.QUEUED)
            self._packs.append((cell,))

    def _follow(self, report: Report) -> None:
        for key, step in report.steps.items():
            self._cells[key] = replace(self._cells[key], step=step)
            if report.first:
                self._rate.resume(self._cells[key])
        self._rate.update(self._cells.values())

    def _set(self, key: str, state: State, **fields: Any) -> None:
        self._cells[key] = self._cells[key].now(state, **fields)

    @property
    def _job_id(self) -> str:
        assert self._job is not None
        return self._job.job_id

    # --- the store ---

    async def _end(self, ended: list[tuple[Attempt, Outcome]]) -> None:
        """Commits what came of cells; only then do they count as ended."""
        if not ended:
            return
        self._uncommitted += [to_record(attempt, outcome) for attempt, outcome in ended]
        await self._commit()
        for attempt, outcome in ended:
            self._set_ended(attempt.cell, outcome)
        trained = {o.key: a.attempt for a, o in ended if o.error is None}
        await asyncio.to_thread(self._drop_states, trained)
        self._rate.update(self._cells.values())

    def _set_ended(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.error is None:
            error = 100 * (outcome.n_wrong or 0) / (outcome.n_test or 1)
            self._set(cell.key, State.SUCCEEDED, test_error=error, step=outcome.iterations)
        else:
            self._set(cell.key, State.FAILED, error=reason(outcome.error))
            log.warning("%s failed: %s", cell.label, outcome.error)

    async def _commit(self) -> None:
        """Writes all results that wait; where the store refuses, again until it takes them."""
        async with self._committing:
            while self._uncommitted:
                group, self._uncommitted = self._uncommitted, []
                try:
                    await asyncio.to_thread(self.store.commit, group)
                    self._trouble = None
                except Exception as error:
                    self._uncommitted = group + self._uncommitted
                    if self._stopping or not isinstance(error, StoreError):
                        raise
                    self._trouble = str(error)
                    log.error("results wait in memory: %s", error)
                    await asyncio.sleep(COMMIT_RETRY_SECONDS)

    def _own_checkpoints(self, lost: list[Attempt]) -> dict[str, str]:
        """The attempts that got as far as a checkpoint, by key."""
        kept = [a for a in lost if self.store.read_checkpoint(a.cell.key, a.attempt, STATE)]
        return {attempt.cell.key: attempt.attempt for attempt in kept}

    def _checkpoints(self, cells: list[Cell]) -> dict[str, str]:
        """The newest checkpoint of each cell that was interrupted before, by key."""
        found = {cell.key: self.store.newest_checkpoint(cell.key, STATE) for cell in cells}
        return {key: attempt for key, attempt in found.items() if attempt}

    def _drop_states(self, trained: dict[str, str]) -> None:
        """Trained cells go on from nothing: their training state is not needed any more."""
        for key, attempt in trained.items():
            for name in {attempt, self._resume.get(key, attempt)}:
                with suppress(StoreError):  # it is in the way of nothing
                    self.store.drop_checkpoint(key, name, STATE)
