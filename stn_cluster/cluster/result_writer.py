"""Result writer: commits results to the store in groups, then updates the queue.

While the store is unavailable or full, results are buffered and the commit is retried;
`degraded_reason` has the cause.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from stn_cluster.cluster.housekeeping import Housekeeping
from stn_cluster.cluster.rows import to_evaluation, to_record, to_stored_result, to_test_set
from stn_cluster.errors import StoreError
from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.finish import finish
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.store import Store
from stn_cluster.threads import SingleThread
from stn_cluster.training.outcome import Labels, Outcome

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 2.0
GROUP = 500  # maximum number of results in one commit
COMMIT_SECONDS = 0.2  # time between two commits; results that arrive meanwhile form one group


@dataclass(frozen=True)
class Result:
    """An ended attempt and its outcome, to be written to the store."""

    attempt: Attempt
    outcome: Outcome
    without_state: bool = False  # whether the store has no checkpoint of its cell to remove


class ResultWriter:
    """Writes results for the coordinator.

    Args:
        store: the result store, whose rows only this class writes.
        thread: the thread that writes to the store.
        known: updated with every written result.
        database: updated after every commit.
        housekeeping: removes the checkpoints of ended cells.
    """

    def __init__(
        self,
        *,
        store: Store,
        thread: SingleThread,
        known: KnownResults,
        database: QueueDatabase,
        housekeeping: Housekeeping,
    ) -> None:
        self.degraded_reason: str | None = None
        self.commits = 0  # number of groups that became durable
        self._store = store
        self._thread = thread
        self._known = known
        self._database = database
        self._housekeeping = housekeeping
        self._results: list[Result] = []
        self._labels: dict[str, Labels] = {}  # of test sets that the store may not have yet
        self._added = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """Number of results that are not durable yet."""
        return len(self._results)

    def add(self, result: Result) -> None:
        """Adds a result; it is valid only when it is durable."""
        self._results.append(result)
        self._idle.clear()
        self._added.set()

    def add_labels(self, labels: Labels) -> None:
        """Adds a test set's labels, which are reported once for several results."""
        self._labels[labels.test_set] = labels

    async def run(self, on_commit: Callable[[Sequence[Result]], None]) -> None:
        """Writes results: the first one at once, then those that have arrived meanwhile as groups.

        Args:
            on_commit: called with results that have become durable.
        """
        started = 0.0
        while True:
            await self._added.wait()
            self._added.clear()
            while self._results:
                await asyncio.sleep(started + COMMIT_SECONDS - time.monotonic())
                started = time.monotonic()
                group = self._results[:GROUP]
                await self._write(group)
                del self._results[: len(group)]
                self.commits += 1
                on_commit(group)
                with_state = [
                    result.attempt.cell.key
                    for result in group
                    if not result.without_state and result.attempt.evaluation is None
                ]
                await self._housekeeping.drop_states(with_state)
            self._idle.set()

    async def close(self, seconds: float) -> None:
        """Waits until all results are durable, but not longer than `seconds`.

        Raises:
            StoreError: results could not be written; they are lost, and their cells still queued.
        """
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            reason = self.degraded_reason or "results could not be written in time"
            raise StoreError(reason) from None

    async def _write(self, group: Sequence[Result]) -> None:
        failpoint("result-received")
        cells = [result for result in group if result.attempt.evaluation is None]
        evaluations = [result for result in group if result.attempt.evaluation is not None]
        await self._write_kind(cells, to_record, self._store.commit)
        await self._write_kind(evaluations, to_evaluation, self._store.commit_evaluations)

    async def _write_kind(
        self,
        group: Sequence[Result],
        to_row: Callable[[Attempt, Outcome], T],
        commit: Callable[[Sequence[T], Sequence[Mapping[str, Any]]], list[datetime]],
    ) -> None:
        """Writes results of one kind to the store, then to the queue."""
        if not group:
            return
        rows = await self._thread.run(
            lambda: [to_row(result.attempt, result.outcome) for result in group]
        )
        times = await self._commit(commit, rows)
        stored = [
            to_stored_result(result.attempt, result.outcome, time)
            for result, time in zip(group, times, strict=True)
        ]
        self._known.add(stored)
        await self._database.write_until_done(finish, stored)

    async def _commit(
        self,
        commit: Callable[[Sequence[T], Sequence[Mapping[str, Any]]], list[datetime]],
        rows: Sequence[T],
    ) -> list[datetime]:
        """Commits to the store, and retries until it succeeds."""
        labels = list(self._labels.values())
        test_sets = [to_test_set(test_set) for test_set in labels]
        while True:
            try:
                times = await self._thread.run(commit, rows, test_sets)
            except StoreError as error:
                if self.degraded_reason is None:
                    log.error("results are buffered: %s", error)
                self.degraded_reason = str(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.degraded_reason = None
                for test_set in labels:
                    self._labels.pop(test_set.test_set, None)
                return times
