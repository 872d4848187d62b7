"""Compares the queue with its model, and follows its jobs as a client does."""

from __future__ import annotations

import sqlite3
from collections import Counter

from stn_cluster.queue import queries
from stn_cluster.queue.claim import demand
from stn_cluster.queue.jobs import CellState, CellStatus, Page
from support.queue_model import UNFINISHED, Model


class Watch:
    """Status of each job that a client has seen so far."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, dict[str, CellStatus]]] = {}

    def compare(self, queue: sqlite3.Connection, model: Model, reader: sqlite3.Connection) -> None:
        """Raises an AssertionError if queue and model differ."""
        cells_agree(model, reader)
        attempts_agree(model, reader)
        demand_agrees(queue, model)
        statuses = queries.jobs(queue)
        assert [status.job_id for status in statuses] == list(model.jobs)
        for status in statuses:
            view = model.view(status.job_id)
            assert status.counts == Counter(view.values())
            assert status.state is model.state(status.job_id)
            seen = self._follow(queue, status.job_id)
            assert {key: cell.state for key, cell in seen.items()} == view
            assert {key: cell.test_error for key, cell in seen.items()} == {
                key: model.cells[key].test_error if state is CellState.SUCCEEDED else None
                for key, state in view.items()
            }
            stored = {key for key, cell in seen.items() if cell.stored}
            assert stored == model.jobs[status.job_id].stored

    def _follow(self, queue: sqlite3.Connection, job_id: str) -> dict[str, CellStatus]:
        """Status of a job's cells by key; requests only those that have changed."""
        last, seen = self._seen.get(job_id, (-1, {}))
        news, last = queries.cells(queue, job_id, Page(since=last))
        seen |= {cell.cell.key: cell for _, cell in news}
        self._seen[job_id] = last, seen
        return seen


def cells_agree(model: Model, reader: sqlite3.Connection) -> None:
    """Every cell agrees with the model, and cells that a job waits for are queued or running."""
    rows = reader.execute(
        "SELECT key, state, isolated, exhausted, failures, node_losses, has_result, test_error "
        "FROM cells"
    )
    assert {tuple(row) for row in rows} == {
        (
            *(key, cell.state, cell.isolated, cell.exhausted, cell.failures, cell.node_losses),
            *(cell.has_result, cell.test_error),
        )
        for key, cell in model.cells.items()
    }
    for entry in model.jobs.values():
        assert all(model.cells[key].state in UNFINISHED for key in entry.pending)


def attempts_agree(model: Model, reader: sqlite3.Connection) -> None:
    """The history agrees; a cell has one attempt at a time, an attempt at most one result."""
    rows = reader.execute("SELECT attempt, key, exit_reason, counts FROM attempts")
    assert {tuple(row) for row in rows} == {
        (name, attempt.key, attempt.reason, attempt.counts)
        for name, attempt in model.attempts.items()
    }
    running = [model.attempts[name].key for name in model.running()]
    assert len(running) == len(set(running))
    assert len(model.accepted) == len(set(model.accepted))


def demand_agrees(queue: sqlite3.Connection, model: Model) -> None:
    """Demand counts all claimable cells, for all jobs together and for each job."""
    kinds = {str(cell.cell.needs): cell.cell.needs for cell in model.cells.values()}
    for only in (None, *model.jobs):
        pools = demand(queue, only)
        assert pools == sorted(pools, key=lambda pool: (-pool.priority, pool.job))
        found = {str(pool.needs): (pool.cells, pool.priority, pool.job) for pool in pools}
        expected = {}
        for name, needs in kinds.items():
            if keys := model.queued(needs, only):
                owner = model.owner(keys[0])
                assert owner is not None
                expected[name] = (len(keys), owner.job.priority, owner.number)
        assert found == expected
