"""Compares the queue with its model, and follows its jobs as a client does."""

from __future__ import annotations

import sqlite3
from collections import Counter

from support.queue_model import WAITING, Model

from stn_cluster.queue import Queue
from stn_cluster.queue.jobs import CellState, CellStatus, Page


class Watch:
    """What a client has seen of each job so far."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, dict[str, CellStatus]]] = {}

    def compare(self, queue: Queue, model: Model, reader: sqlite3.Connection) -> None:
        """Raises an AssertionError where the two differ."""
        cells_agree(model, reader)
        attempts_agree(model, reader)
        demand_agrees(queue, model)
        statuses = queue.jobs()
        assert [status.job_id for status in statuses] == list(model.jobs)
        for status in statuses:
            view = model.view(status.job_id)
            assert status.counts == Counter(view.values())
            assert status.state is model.state(status.job_id)
            seen = self._follow(queue, status.job_id)
            assert {key: cell.state for key, cell in seen.items()} == view
            with_error = {key for key, cell in seen.items() if cell.test_error == 5.0}
            assert with_error == {key for key in view if view[key] is CellState.SUCCEEDED}
            stored = {key for key, cell in seen.items() if cell.stored}
            assert stored == model.jobs[status.job_id].stored

    def _follow(self, queue: Queue, job_id: str) -> dict[str, CellStatus]:
        """A job's cells by key, of which only those are asked for that have changed."""
        last, seen = self._seen.get(job_id, (-1, {}))
        news, last = queue.cells(job_id, Page(since=last))
        seen |= {cell.cell.key: cell for _, cell in news}
        self._seen[job_id] = last, seen
        return seen


def cells_agree(model: Model, reader: sqlite3.Connection) -> None:
    """Every cell is as it is in the model, and what a job waits for is on its way."""
    rows = reader.execute("SELECT key, state, alone, spent, charged, node_losses FROM cells")
    assert {tuple(row) for row in rows} == {
        (key, cell.state, cell.alone, cell.spent, cell.charged, cell.node_losses)
        for key, cell in model.cells.items()
    }
    for entry in model.jobs.values():
        assert all(model.cells[key].state in WAITING for key in entry.waits)


def attempts_agree(model: Model, reader: sqlite3.Connection) -> None:
    """So is the history; a cell has one attempt at a time, and an attempt one result at most."""
    rows = reader.execute("SELECT attempt, key, ending, charged FROM attempts")
    assert {tuple(row) for row in rows} == {
        (name, attempt.key, attempt.ending, attempt.charged)
        for name, attempt in model.attempts.items()
    }
    under_way = [model.attempts[name].key for name in model.running()]
    assert len(under_way) == len(set(under_way))
    assert len(model.accepted) == len(set(model.accepted))


def demand_agrees(queue: Queue, model: Model) -> None:
    """All that may be claimed is counted, for all jobs together and for each alone."""
    kinds = {str(cell.cell.needs): cell.cell.needs for cell in model.cells.values()}
    for only in (None, *model.jobs):
        pools = queue.demand(only)
        assert pools == sorted(pools, key=lambda pool: (-pool.priority, pool.job))
        found = {str(pool.needs): (pool.cells, pool.priority, pool.job) for pool in pools}
        expected = {}
        for name, needs in kinds.items():
            if keys := model.queued(needs, only):
                owner = model.owner(keys[0])
                assert owner is not None
                expected[name] = (len(keys), owner.job.priority, owner.number)
        assert found == expected
