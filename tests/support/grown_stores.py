"""A store that has grown with its queue: what `prune` is for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stn_cluster.cluster.pruning import Choice, Pruned, prune
from stn_cluster.cluster.settings import make_settings
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import WEIGHTS, Attempt, Checkpoint
from stn_cluster.queue.finish import finish
from stn_cluster.queue.known_results import StoredResult
from stn_cluster.queue.queries import job_record
from stn_cluster.queue.submit import mark_recorded
from stn_cluster.store import Store
from support.queues import QueueUnderTest
from support.records import TEST_SET, make_evaluation_row, make_record


class GrownStore:
    """A store in a folder, and its queue, without a service.

    Args:
        folder: of the store; the queue is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "queue"
        self.store = Store.open(folder, create=True)

    def train(
        self,
        job_id: str,
        wanted: Sequence[Cell],
        error: float | None = 1.5,
        unfinished: int = 0,
        evaluated: bool = False,
        **fields: Any,
    ) -> list[str]:
        """Submits a job and ends its cells, but for the last `unfinished`; returns the attempts."""
        queue = QueueUnderTest(self.state)
        queue.known.add(self._results())
        try:
            queue.submit(job_id, wanted, **fields)
            self.store.write_job(job_id, job_record(queue.db, job_id))
            mark_recorded(queue.db, job_id)
            attempts = queue.claim_all(only=job_id)
            for attempt in attempts:
                self._write_files(attempt)
            for attempt in attempts[: len(attempts) - unfinished]:
                self._end(queue, attempt, error, evaluated)
            for attempt in attempts[len(attempts) - unfinished :]:
                queue.save(attempt, 4)
        finally:
            queue.close()
        return [attempt.id for attempt in attempts]

    def cancel(self, job_id: str) -> None:
        """Cancels a job."""
        queue = QueueUnderTest(self.state)
        queue.cancel(job_id)
        queue.close()

    def prune(self, *jobs: str, dry_run: bool = False, **choice: Any) -> Pruned:
        """Prunes the store; see `Choice`."""
        return prune(make_settings(self.folder), Choice(jobs=jobs, **choice), dry_run=dry_run)

    def copy(self, folder: Path) -> GrownStore:
        """Makes a copy of all of it."""
        shutil.copytree(self.folder, folder)
        return GrownStore(folder)

    def logs(self) -> set[str]:
        """Attempts that have a log."""
        return {path.stem for path in self.folder.glob("logs/*/*.log")}

    def checkpoints(self) -> set[tuple[str, str]]:
        """Attempts that have a checkpoint, and its name."""
        return {(path.parent.name, path.name) for path in self.folder.glob("checkpoints/*/*/*")}

    def attempts(self, kind: Any = "cells") -> list[str]:
        """Attempts of the rows of a kind, each row's."""
        found: list[str] = self.store.read(kind, columns=["attempt"])["attempt"].to_pylist()
        return sorted(found)

    def _write_files(self, attempt: Attempt) -> None:
        key = attempt.item.key
        self.store.logs.append(key, attempt.id, f"the log of {attempt.id}\n")
        state = Checkpoint(attempt.id, 4).name
        for name in (state, WEIGHTS):
            self.store.checkpoints.write(key, attempt.id, name, b"numbers" * 10)

    def _end(
        self, queue: QueueUnderTest, attempt: Attempt, error: float | None, evaluated: bool
    ) -> None:
        columns = {"attempt": attempt.id, "job_id": attempt.job_id}
        record = make_record(attempt.cell, error, **columns)
        [time] = self.store.commit([record], [TEST_SET])
        if evaluated:
            self.store.commit_evaluations([make_evaluation_row(attempt.cell, **columns)])
        message = None if error is not None else "ValueError: no"
        accepted = round(time.timestamp() * 1e6)
        result = StoredResult(attempt.item.key, attempt.id, accepted, error, message)
        queue.known.add([result])
        assert finish(queue.db, [result]) == [True]

    def _results(self) -> list[StoredResult]:
        from stn_cluster.cluster.rows import stored_results

        known = stored_results(self.store)
        return [*known._successes.values(), *known._failures.values()]
