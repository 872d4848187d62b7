"""Housekeeping in the store: attempts' logs, jobs' records, checkpoints that nobody needs.

None of it is urgent: where the store is away, it waits and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from stn_cluster.cluster.attempt_log import stamp
from stn_cluster.errors import StoreError, storable
from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import WEIGHTS, Attempt, Checkpoint
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.queries import ended_keys, job_record, unrecorded_jobs
from stn_cluster.queue.submit import mark_recorded
from stn_cluster.store import Store
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 2.0  # between two writings of logs
LOG_WRITERS = 8  # side by side: results wait meanwhile, and an object store takes its time
MAX_LOG_CHARACTERS = 10_000_000  # of all logs that wait for the store; beyond it they are dropped
Place = tuple[str, str]  # of a log: key and attempt


class Housekeeping:
    """Keeps the store in order for the coordinator.

    Args:
        store: the result store.
        thread: where it is written.
        database: knows which jobs the store has no record of, and which cells have ended.
    """

    def __init__(self, *, store: Store, thread: SingleThread, database: QueueDatabase) -> None:
        self._store = store
        self._thread = thread
        self._database = database
        self._discarded: list[tuple[str, Checkpoint]] = []
        self._logs: defaultdict[Place, list[str]] = defaultdict(list)
        self._log_size = 0
        self._writing_logs = asyncio.Lock()

    def discard(self, checkpoints: Sequence[tuple[str, Checkpoint]]) -> None:
        """Takes checkpoints, with their cells' keys, that nothing resumes from any more."""
        self._discarded += checkpoints

    def log(self, attempt: Attempt, text: str) -> None:
        """Takes lines for an attempt's log."""
        self._add_log((attempt.cell.key, attempt.id), text)

    def log_line(self, attempt: Attempt, text: str) -> None:
        """Takes one line, which gets the time before it."""
        self.log(attempt, f"{stamp()} {text}\n")

    def log_requeued(self, key: str, attempt: str) -> None:
        """Notes in an attempt's log that the coordinator ended while it ran."""
        text = "coordinator lost: the cell is queued again"
        self._add_log((key, attempt), f"{stamp()} {text}\n")

    async def read_log(self, key: str, attempt: str) -> str | None:
        """An attempt's log so far, or None.

        Raises:
            StoreError: the store is away.
        """
        await self.write_logs()
        return await self._thread.run(self._store.read_log, key, attempt)

    async def run(self) -> None:
        """Does what is due, now and then; ends only when it is cancelled."""
        swept = False
        while True:
            try:
                if not swept:
                    await self._sweep_states()
                    swept = True
                await self.write_logs()
                await self._write_jobs()
                while self._discarded:
                    key, old = self._discarded[0]
                    await self._thread.run(self._store.drop_checkpoint, key, old.attempt, old.name)
                    del self._discarded[0]
            except StoreError as error:
                log.warning("logs and records wait: %s", error)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def drop_states(self, keys: Sequence[str]) -> None:
        """Removes the training state of cells that have ended."""
        await self._thread.run(self._drop_states, keys)
        failpoint("state-dropped")

    async def write_logs(self) -> None:
        """Writes all lines; those that the store does not take wait on, in their order.

        Raises:
            StoreError: it did not take all.
        """
        async with self._writing_logs:  # one after the other: a log's lines stay in their order
            logs, self._logs = self._logs, defaultdict(list)
            texts = {place: "".join(lines) for place, lines in logs.items()}
            self._log_size -= sum(map(len, texts.values()))
            written: set[Place] = set()
            try:
                await self._thread.run(self._append_logs, texts, written)
            finally:
                # A copy: should this have been cancelled, the thread is still at it.
                done = set(written)
                for place, text in texts.items():
                    if place not in done:
                        self._logs[place].insert(0, text)
                        self._log_size += len(text)

    def _add_log(self, place: Place, text: str) -> None:
        if self._log_size + len(text) <= MAX_LOG_CHARACTERS:
            self._log_size += len(text)
            self._logs[place].append(storable(text))

    def _append_logs(self, texts: dict[Place, str], written: set[Place]) -> None:
        """Writes logs, and notes those that are written."""

        def write(place: Place) -> None:
            self._store.append_log(*place, texts[place])
            written.add(place)

        with ThreadPoolExecutor(LOG_WRITERS) as writers:
            for _ in writers.map(write, texts):
                pass  # but raise what was raised

    def _drop_states(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(StoreError):  # it is in the way of nothing
                for attempt, name in self._store.checkpoints(key):
                    if name != WEIGHTS:
                        self._store.drop_checkpoint(key, attempt, name)

    async def _sweep_states(self) -> None:
        """Removes training state that a coordinator which died left behind."""
        found = await self._thread.run(self._store.all_checkpoints)
        ended = await self._database.read(ended_keys)
        for key, attempt, name in found:
            if key in ended and name != WEIGHTS:
                await self._thread.run(self._store.drop_checkpoint, key, attempt, name)

    async def _write_jobs(self) -> None:
        for job_id in await self._database.read(unrecorded_jobs):
            record = await self._database.read(job_record, job_id)
            await self._thread.run(self._store.write_job, job_id, record)
            failpoint("job-recorded")
            await self._database.write(mark_recorded, job_id)
