"""Housekeeping in the store: attempts' logs, jobs' records, removal of unneeded checkpoints.

None of it is urgent: while the store is unavailable, it waits and is retried.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from stn_cluster.cluster.attempt_log import stamp
from stn_cluster.errors import StoreError, storable
from stn_cluster.failpoints import failpoint
from stn_cluster.plain_text import plain_lines
from stn_cluster.queue.attempts import WEIGHTS, Attempt, Checkpoint
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.queries import ended_keys, job_record, unrecorded_jobs
from stn_cluster.queue.submit import mark_recorded
from stn_cluster.store import Store
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 2.0  # time between two writes of logs
LOG_WRITERS = 8  # parallel writes: an object store is slow, and results wait meanwhile
MAX_LOG_CHARACTERS = 10_000_000  # of all logs that wait for the store; further lines are dropped
LogName = tuple[str, str]  # key and attempt


class Housekeeping:
    """Writes logs and jobs' records, and removes unneeded checkpoints, for the coordinator.

    Args:
        store: the result store.
        thread: the thread that writes to the store.
        database: the queue.
    """

    def __init__(self, *, store: Store, thread: SingleThread, database: QueueDatabase) -> None:
        self._store = store
        self._thread = thread
        self._database = database
        self._discarded: list[tuple[str, Checkpoint]] = []
        self._logs: defaultdict[LogName, list[str]] = defaultdict(list)
        self._log_size = 0
        self._dropped: Counter[LogName] = Counter()  # characters, since the last line that was kept
        self._writing_logs = asyncio.Lock()

    def discard(self, checkpoints: Sequence[tuple[str, Checkpoint]]) -> None:
        """Adds checkpoints to remove, with their cells' keys."""
        self._discarded += checkpoints

    def log(self, attempt: Attempt, text: str) -> None:
        """Adds lines to an attempt's log."""
        self._add_log((attempt.item.key, attempt.id), text)

    def log_line(self, attempt: Attempt, text: str) -> None:
        """Adds one line to an attempt's log, preceded by the time."""
        self.log(attempt, f"{stamp()} {text}\n")

    def log_requeued(self, key: str, attempt: str) -> None:
        """Adds a line to an attempt's log: the coordinator ended while it ran."""
        text = "coordinator lost: the cell is queued again"
        self._add_log((key, attempt), f"{stamp()} {text}\n")

    async def read_log(self, key: str, attempt: str) -> str | None:
        """Log of an attempt so far, or None.

        Raises:
            StoreError: the store is unavailable.
        """
        await self.write_logs()
        return await self._thread.run(self._store.logs.read, key, attempt)

    async def run(self) -> None:
        """Does the pending work at regular intervals; ends only when cancelled."""
        # On a full disk, what is removed makes room for the rest.
        work = [self._sweep_states, self._discard, self.write_logs, self._write_jobs]
        while True:
            failures: dict[str, None] = {}
            for one in list(work):
                try:
                    await one()
                except StoreError as error:
                    failures[str(error)] = None
                else:
                    if one == self._sweep_states:  # once is enough
                        work.remove(one)
            for failure in failures:
                log.warning("logs and records wait: %s", failure)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _discard(self) -> None:
        """Removes checkpoints that newer ones have replaced."""
        while self._discarded:
            key, old = self._discarded[0]
            await self._thread.run(self._store.checkpoints.drop, key, old.attempt, old.name)
            del self._discarded[0]

    async def drop_states(self, keys: Sequence[str]) -> None:
        """Removes the checkpoints of cells that have ended, except their weights."""
        await self._thread.run(self._drop_states, keys)
        failpoint("state-dropped")

    async def write_logs(self) -> None:
        """Writes all lines; those that cannot be written stay buffered, in their order.

        Raises:
            StoreError: some lines could not be written.
        """
        async with self._writing_logs:  # one at a time, to keep the order of a log's lines
            logs, self._logs = self._logs, defaultdict(list)
            texts = {log_name: "".join(lines) for log_name, lines in logs.items()}
            self._log_size -= sum(map(len, texts.values()))
            written: set[LogName] = set()
            try:
                await self._thread.run(self._append_logs, texts, written)
            finally:
                # A copy, as the thread continues if this was cancelled.
                done = set(written)
                for log_name, text in texts.items():
                    if log_name not in done:
                        self._logs[log_name].insert(0, text)
                        self._log_size += len(text)

    def _add_log(self, log_name: LogName, text: str) -> None:
        text = plain_lines(storable(text))
        if self._log_size + len(text) > MAX_LOG_CHARACTERS:
            self._dropped[log_name] += len(text)
            return
        if dropped := self._dropped.pop(log_name, 0):
            text = (
                f"... {dropped:,} characters cut off: the store did not take them in time\n{text}"
            )
        self._log_size += len(text)
        self._logs[log_name].append(text)

    def _append_logs(self, texts: dict[LogName, str], written: set[LogName]) -> None:
        """Writes logs, and adds the names of those written to `written`."""

        def write(log_name: LogName) -> None:
            self._store.logs.append(*log_name, texts[log_name])
            written.add(log_name)

        if self._store.local_path is not None:  # a thread for each would cost more than the write
            failures = []
            for log_name in texts:  # all of them, as one may be the only one that fails
                try:
                    write(log_name)
                except StoreError as error:
                    failures.append(error)
            if failures:
                raise failures[0]
            return
        with ThreadPoolExecutor(LOG_WRITERS) as writers:
            for _ in writers.map(write, texts):
                pass  # iterating raises the errors of the writes

    def _drop_states(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(StoreError):  # a remaining checkpoint does no harm
                for attempt, name in self._store.checkpoints.of(key):
                    if name != WEIGHTS:
                        self._store.checkpoints.drop(key, attempt, name)

    async def _sweep_states(self) -> None:
        """Removes checkpoints that a dead coordinator has left behind."""
        checkpoints = await self._thread.run(self._store.checkpoints.all)
        ended = await self._database.read(ended_keys)
        for key, attempt, name in checkpoints:
            if key in ended and name != WEIGHTS:
                await self._thread.run(self._store.checkpoints.drop, key, attempt, name)

    async def _write_jobs(self) -> None:
        for job_id in await self._database.read(unrecorded_jobs):
            record = await self._database.read(job_record, job_id)
            await self._thread.run(self._store.write_job, job_id, record)
            failpoint("job-recorded")
            await self._database.write(mark_recorded, job_id)
