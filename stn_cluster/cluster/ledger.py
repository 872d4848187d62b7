"""What goes to the store: results in groups, then attempts' logs and jobs' records.

The store may be away or full: all waits in memory and is tried again, and `trouble` says why.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from stn_cluster.cluster.attempt_log import stamp
from stn_cluster.cluster.job import reason
from stn_cluster.cluster.messages import WEIGHTS, Checkpoint
from stn_cluster.cluster.queue import Queue
from stn_cluster.cluster.record import Attempt, to_record, to_test_set
from stn_cluster.cluster.stored import StoredEnd, StoredEnds
from stn_cluster.cluster.threads import Thread
from stn_cluster.errors import StoreError
from stn_cluster.faults import reach
from stn_cluster.store import Record, Store
from stn_cluster.training.outcome import Labels, Outcome

log = logging.getLogger(__name__)
R = TypeVar("R")
T = TypeVar("T")

RETRY_SECONDS = 2.0
GROUP = 500  # results in one commit, at most
COMMIT_SECONDS = 0.2  # between the beginnings of two commits: what comes meanwhile is one group
LOG_SECONDS = 2.0  # between two writings of logs
LOG_WRITERS = 8  # side by side: results wait meanwhile, and an object store takes its time
MAX_LOG_CHARACTERS = 10_000_000  # of all logs that wait for the store; beyond it they are dropped


@dataclass(frozen=True)
class Result:
    """An ended attempt on its way to the store."""

    attempt: Attempt
    outcome: Outcome
    clean: bool = False  # it left nothing in the store but its weights


class Ledger:
    """Writes for the coordinator.

    Args:
        store: the result store; this alone writes its rows.
        ends: what the store holds; grows with what is written.
        queue: hears of every result that the store has taken.
        queue_thread: where the queue is used.
        committed: called with the results that have become durable.
    """

    def __init__(
        self,
        store: Store,
        ends: StoredEnds,
        queue: Queue,
        queue_thread: Thread,
        committed: Callable[[Sequence[Result]], None],
    ) -> None:
        self.trouble: str | None = None
        self._store = store
        self._ends = ends
        self._queue = queue
        self._queue_thread = queue_thread
        self._committed = committed
        self._thread = Thread("store")
        self._results: list[Result] = []
        self._labels: dict[str, Labels] = {}  # of test sets that the store may not have
        self._replaced: list[tuple[str, Checkpoint]] = []
        self._logs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._log_size = 0
        self._writing_logs = asyncio.Lock()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.tasks = [asyncio.create_task(self._commit()), asyncio.create_task(self._tidy())]

    @property
    def waiting(self) -> int:
        """Results that are not durable yet."""
        return len(self._results)

    def add(self, result: Result) -> None:
        """Takes a result; it counts once it is durable."""
        self._results.append(result)
        self._idle.clear()
        self._news.set()

    def note(self, labels: Labels) -> None:
        """Takes a test set's labels, which are told once for several results."""
        self._labels[labels.test_set] = labels

    def drop(self, replaced: Sequence[tuple[str, Checkpoint]]) -> None:
        """Takes checkpoints, with their cells' keys, that nothing goes on from any more."""
        self._replaced += replaced

    def log(self, key: str, attempt: str, text: str) -> None:
        """Takes lines for an attempt's log."""
        if self._log_size + len(text) <= MAX_LOG_CHARACTERS:
            self._log_size += len(text)
            self._logs[key, attempt].append(text)

    def log_line(self, key: str, attempt: str, text: str) -> None:
        """Takes one line, which gets the time before it."""
        self.log(key, attempt, f"{stamp()} {text}\n")

    async def read_log(self, key: str, attempt: str) -> str | None:
        """An attempt's log so far, or None."""
        await self._write_logs()
        return await self._thread(self._store.read_log, key, attempt)

    async def close(self, seconds: float) -> None:
        """Writes what waits, for so long at most, and ends.

        Raises:
            StoreError: results could not be written; they are lost, and their cells still queued.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        with suppress(StoreError, TimeoutError):
            await asyncio.wait_for(self._write_logs(), seconds)
        for task in self.tasks:
            task.cancel()
        self._thread.close()
        if self._results:
            raise StoreError(self.trouble or "results could not be written in time")

    # --- results ---

    async def _commit(self) -> None:
        """Writes all results, in groups: the first at once, then whatever came meanwhile."""
        began = 0.0
        while True:
            await self._news.wait()
            self._news.clear()
            while self._results:
                await asyncio.sleep(began + COMMIT_SECONDS - time.monotonic())
                began = time.monotonic()
                group = self._results[:GROUP]
                reach("result-received")
                records = await self._thread(_records, group)
                labels = list(self._labels.values())
                commit = partial(self._store.commit, test_sets=[to_test_set(one) for one in labels])
                times = await self._patiently(self._thread, commit, records)
                for one in labels:
                    self._labels.pop(one.test_set, None)
                stored = [_end(result, time) for result, time in zip(group, times, strict=True)]
                self._ends.add(stored)
                await self._patiently(self._queue_thread, self._queue.finish, stored)
                del self._results[: len(group)]
                self._committed(group)
                left = [r.attempt for r in group if not r.clean]
                await self._thread(self._drop_states, left)
            self._idle.set()

    async def _patiently(
        self, thread: Thread, write: Callable[[Sequence[R]], T], what: Sequence[R]
    ) -> T:
        """Writes, again and again until the disk or the network takes it."""
        while True:
            try:
                done = await thread(write, what)
            except (StoreError, sqlite3.Error) as error:
                if self.trouble is None:
                    log.error("results wait in memory: %s", error)
                self.trouble = str(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.trouble = None
                return done

    def _drop_states(self, ended: Sequence[Attempt]) -> None:
        """Ended cells go on from nothing: their training state is not needed any more."""
        for attempt in ended:
            with suppress(StoreError):  # it is in the way of nothing
                for other, name in self._store.checkpoints(attempt.cell.key):
                    if name != WEIGHTS:
                        self._store.drop_checkpoint(attempt.cell.key, other, name)
        reach("state-dropped")

    # --- what can wait ---

    async def _tidy(self) -> None:
        """Writes logs and jobs' records, and removes old checkpoints, now and then."""
        swept = False
        while True:
            try:
                if not swept:
                    await self._sweep_states()
                    swept = True
                await self._write_logs()
                await self._write_jobs()
                while self._replaced:
                    key, old = self._replaced[0]
                    await self._thread(self._store.drop_checkpoint, key, old.attempt, old.name)
                    del self._replaced[0]
            except (StoreError, sqlite3.Error) as error:
                log.warning("logs and records wait: %s", error)
            await asyncio.sleep(LOG_SECONDS)

    async def _sweep_states(self) -> None:
        """Removes training state that a coordinator which died left behind."""
        found = await self._thread(self._store.all_checkpoints)
        ended = await self._queue_thread(self._queue.ended)
        for key, attempt, name in found:
            if key in ended and name != WEIGHTS:
                await self._thread(self._store.drop_checkpoint, key, attempt, name)

    async def _write_logs(self) -> None:
        """Writes all lines; those that the store does not take wait on, in their order."""
        async with self._writing_logs:  # one after the other: a log's lines stay in their order
            logs, self._logs = self._logs, defaultdict(list)
            waiting = {place: "".join(texts) for place, texts in logs.items()}
            self._log_size -= sum(map(len, waiting.values()))
            try:
                await self._thread(self._append_logs, waiting)
            finally:
                for place, text in waiting.items():
                    self._logs[place].insert(0, text)
                    self._log_size += len(text)

    def _append_logs(self, waiting: dict[tuple[str, str], str]) -> None:
        """Writes logs, and takes away those that are written."""

        def write(place: tuple[str, str]) -> None:
            self._store.append_log(*place, waiting[place])
            del waiting[place]

        with ThreadPoolExecutor(LOG_WRITERS) as writers:
            for _ in writers.map(write, list(waiting)):
                pass  # but raise what was raised

    async def _write_jobs(self) -> None:
        for job_id in await self._queue_thread(self._queue.unrecorded):
            record = await self._queue_thread(self._queue.job_record, job_id)
            await self._thread(self._store.write_job, job_id, record)
            reach("job-recorded")
            await self._queue_thread(self._queue.note_recorded, job_id)


def _records(group: Sequence[Result]) -> list[Record]:
    return [to_record(result.attempt, result.outcome) for result in group]


def _end(result: Result, accepted_at: datetime) -> StoredEnd:
    outcome = result.outcome
    failed = outcome.error is not None
    return StoredEnd(
        key=outcome.key,
        attempt=result.attempt.attempt,
        accepted_at=round(accepted_at.timestamp() * 1e6),
        test_error=None if failed else 100 * (outcome.n_wrong or 0) / (outcome.n_test or 1),
        error=reason(outcome.error) if outcome.error is not None else None,
    )
