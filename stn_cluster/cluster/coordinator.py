"""The coordinator: an actor that gives packs to workers and their results to the store.

It alone writes the store's rows. Its event loop never waits for a disk: that is done in threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayActorError, RayError

from stn_cluster.cluster.job import CellStatus, Job, JobStatus, State, done, first_line, labels
from stn_cluster.cluster.packing import form_packs
from stn_cluster.cluster.rate import Rate
from stn_cluster.cluster.record import Attempt, failure, to_record
from stn_cluster.cluster.state_folder import hold
from stn_cluster.cluster.worker import STATE, Assignment, Report, Worker, WorkerInfo, utc_now
from stn_cluster.errors import StoreError
from stn_cluster.grid import Cell
from stn_cluster.store import Record, Store
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)

COMMIT_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """How a coordinator works."""

    store: str  # URI
    state: str  # the folder on this machine that one service holds
    data_root: str | None
    workers: int
    gpu: bool  # workers have a GPU each, instead of a core
    threads_per_worker: int = 1


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

    def close(self) -> None:
        """Lets go of the store."""
        self._held.close()

    async def submit(self, job: Job) -> JobStatus:
        """Starts a job; cells that the store holds are taken from there, unless forced."""
        stored = {} if job.force else await asyncio.to_thread(self._stored_errors)
        self._job = job
        for cell in job.cells:
            status = CellStatus(cell, iterations=int(str(cell.settings["iterations"])))
            if cell.key in stored:
                status = status.now(
                    State.SUCCEEDED,
                    step=status.iterations,
                    test_error=stored[cell.key],
                    stored=True,
                )
            self._cells[cell.key] = status
        waiting = [c for c in job.cells if not done(self._cells[c.key].state)]
        if not job.force:
            self._resume = await asyncio.to_thread(self._checkpoints, waiting)
        record = {
            "job_id": job.job_id,
            "submitted_at": utc_now().isoformat(),
            "config": json.loads(job.config),
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
        ended = all(task.done() for task in self._tasks)
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
            stopped=self._stopping and ended,
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
        """Keeps one worker busy until no pack is left; replaces it where its process dies."""
        while self._packs:
            worker = self._hire()
            self._workers[slot] = worker
            try:
                info = await worker.info.remote()
                while self._packs:
                    await self._train(worker, info, self._packs.popleft())
            except RayActorError as error:
                log.warning("worker %d died: %s", slot, first_line(str(error)))
            finally:
                self._workers.pop(slot, None)
                ray.kill(worker)

    def _hire(self) -> Any:
        settings = self.settings
        needs = {"num_gpus": 1} if settings.gpu else {"num_cpus": 1}
        return Worker.options(**needs).remote(  # type: ignore[attr-defined]
            settings.store, settings.data_root, settings.threads_per_worker
        )

    async def _train(self, worker: Any, info: WorkerInfo, pack: tuple[Cell, ...]) -> None:
        """Has one pack trained; commits each cell when it ends.

        Raises:
            RayActorError: the worker's process died; the pack's cells have been seen to.
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
                for outcome in report.ended:
                    await self._end(attempts.pop(outcome.key), outcome)
        except RayActorError as error:
            await self._bury(attempts, error)
            raise
        except RayError as error:  # raised by the worker's own code: none of the cells can go on
            for attempt in attempts.values():
                await self._end(attempt, failure(attempt.cell, str(error)))
            return
        for key in attempts:  # stopped
            self._set(key, State.QUEUED)

    async def _bury(self, attempts: dict[str, Attempt], error: RayActorError) -> None:
        """Sees to the cells whose worker died: tried again alone, or failed if they were alone."""
        lost = [attempt.cell for attempt in attempts.values()]
        if self._stopping:
            return
        if len(lost) == 1 and next(iter(attempts.values())).pack_size == 1:
            reason = f"its worker's process died: {first_line(str(error))}"
            await self._end(attempts[lost[0].key], failure(lost[0], reason))
            return
        log.warning("queued again, each alone: %s", labels(lost))
        self._resume |= await asyncio.to_thread(self._checkpoints, lost)
        for cell in lost:
            self._set(cell.key, State.QUEUED)
            self._packs.append((cell,))

    def _follow(self, report: Report) -> None:
        for key, step in report.steps.items():
            self._cells[key] = replace(self._cells[key], step=step)
        self._rate.update(self._cells.values())

    def _set(self, key: str, state: State, **fields: Any) -> None:
        self._cells[key] = self._cells[key].now(state, **fields)

    @property
    def _job_id(self) -> str:
        assert self._job is not None
        return self._job.job_id

    # --- the store ---

    async def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Commits what came of a cell; only then does it count as ended."""
        self._uncommitted.append(to_record(attempt, outcome))
        await self._commit()
        if outcome.error is None:
            error = 100 * (outcome.n_wrong or 0) / (outcome.n_test or 1)
            self._set(
                outcome.key, State.SUCCEEDED, test_error=error, step=outcome.iterations, error=None
            )
            await asyncio.to_thread(self._drop_state, outcome.key, attempt.attempt)
        else:
            self._set(outcome.key, State.FAILED, error=first_line(outcome.error))
            log.warning("%s failed: %s", attempt.cell.label, outcome.error)
        self._rate.update(self._cells.values())

    async def _commit(self) -> None:
        """Writes all results that wait; where the store refuses, again until it takes them."""
        while self._uncommitted:
            group, self._uncommitted = self._uncommitted, []
            try:
                await asyncio.to_thread(self.store.commit, group)
                self._trouble = None
            except StoreError as error:
                self._uncommitted = group + self._uncommitted
                self._trouble = str(error)
                log.error("results wait in memory: %s", error)
                await asyncio.sleep(COMMIT_RETRY_SECONDS)

    def _stored_errors(self) -> dict[str, float]:
        """The test error of each cell that the store holds, in percent, by key."""
        rows = self.store.results(latest=True)
        rows = rows[rows["status"] == State.SUCCEEDED.value]
        return dict(zip(rows["key"], rows["test_error"], strict=True))

    def _checkpoints(self, cells: list[Cell]) -> dict[str, str]:
        found = {cell.key: self.store.newest_checkpoint(cell.key, STATE) for cell in cells}
        return {key: attempt for key, attempt in found.items() if attempt}

    def _drop_state(self, key: str, attempt: str) -> None:
        """A trained cell goes on from nothing: its training state is not needed any more."""
        for name in {attempt, self._resume.get(key, attempt)}:
            self.store.drop_checkpoint(key, name, STATE)
