"""What the queue tells of jobs, cells and attempts; changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from stn_cluster.cluster.protocol import WorkerInfo
from stn_cluster.errors import NotFoundError, UserError, unknown
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, Page, done
from stn_cluster.queue.totals import Totals

# A cancelled job has no part any more in what becomes of the cells that it dropped.
_STATE = "CASE WHEN dropped THEN 'cancelled' ELSE state END"


@dataclass(frozen=True)
class AttemptRow:
    """One attempt, as the history keeps it."""

    attempt: str
    key: str
    job_id: str
    pack_size: int
    worker: WorkerInfo
    started_at: datetime  # UTC, as the next
    ended_at: datetime | None
    ending: str | None
    charged: bool
    reason: str | None


def _in_spec(name: str) -> str:
    return f"json_extract(spec, '$.{name}')"


# What a job's cells may be chosen by, and where it is. The recipe is the job's own name for it.
CELL_FILTERS = {
    name: _in_spec(name) for name in ("dataset", "model", "transform", "distortion", "seed")
} | {"recipe": "wants.recipe", "key": "cells.key"}
_NAME = ", ".join(f"{column} AS {name}" for name, column in CELL_FILTERS.items()) + (
    f", {_in_spec('settings.iterations')} AS iterations"
)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def find_job(db: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    """A job's row.

    Raises:
        NotFoundError: there is no such job.
    """
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM jobs WHERE job_id = ?", (job_id,)
    ).fetchone()
    if row is None:
        recent = db.execute("SELECT job_id FROM jobs ORDER BY number DESC LIMIT 20")
        known = [row["job_id"] for row in recent]
        raise NotFoundError(unknown("job", job_id, known) if known else f"unknown job {job_id!r}")
    return row


def all_jobs(db: sqlite3.Connection) -> list[sqlite3.Row]:
    """The rows of all jobs, oldest first."""
    return db.execute("SELECT * FROM jobs ORDER BY number").fetchall()


def counts(db: sqlite3.Connection, number: int) -> tuple[dict[CellState, int], float]:
    """A job's cells by state, and the cost of those that have not ended."""
    rows = db.execute(
        f"SELECT {_STATE} AS state, count(*) AS cells, sum(cost) AS cost "
        "FROM wants JOIN cells USING (key) WHERE wants.job = ? GROUP BY 1",
        (number,),
    ).fetchall()
    left = sum(row["cost"] for row in rows if not done(row["state"]))
    return {CellState(row["state"]): row["cells"] for row in rows}, left


def cells(
    db: sqlite3.Connection,
    number: int,
    page: Page,
) -> tuple[list[tuple[str | None, CellStatus]], int]:
    """A job's cells in their order, each with its current attempt while it runs.

    Args:
        db: the queue.
        number: of the job.
        page: which of them.

    Returns:
        The cells, and the number of the last change.

    Raises:
        UserError: there is no filter of that name.
    """
    # First: what changes while the cells are read is then found twice, rather than never.
    last = int(db.execute("SELECT coalesce(max(changed), 0) FROM cells").fetchone()[0])
    columns: dict[str, Sequence[Any]] = {f"({_STATE})": page.states} if page.states else {}
    for name, values in page.filters.items():
        if name not in CELL_FILTERS:
            raise UserError(unknown("filter", name, CELL_FILTERS))
        columns[CELL_FILTERS[name]] = values
    chosen = "".join(f" AND {column} IN ({_marks(values)})" for column, values in columns.items())
    given = [value for values in columns.values() for value in values]
    tables, new = "wants CROSS JOIN cells USING (key)", ""
    if page.since >= 0:  # few: they are looked up first (CROSS JOIN keeps the order)
        tables = "cells CROSS JOIN wants USING (key)"
        new = f"AND (changed > {page.since} OR state = 'running')"
    rows = db.execute(
        f"SELECT {_NAME}, stored, {_STATE} AS state, attempt, test_error, error "
        f"FROM {tables} WHERE wants.job = ? {new} {chosen} ORDER BY position LIMIT ? OFFSET ?",
        (number, *given, page.limit, page.offset),
    )
    found = [(row["attempt"] if row["state"] == "running" else None, _status(row)) for row in rows]
    return found, last


def _status(row: sqlite3.Row) -> CellStatus:
    name = CellName(**{field.name: row[field.name] for field in fields(CellName)})
    state = CellState(row["state"])
    return CellStatus(
        name,
        state,
        step=name.iterations if state is CellState.SUCCEEDED else 0,
        test_error=row["test_error"] if state is CellState.SUCCEEDED else None,
        error=row["error"] if state is CellState.FAILED else None,
        stored=bool(row["stored"]),
    )


def attempts(db: sqlite3.Connection, name: str) -> list[AttemptRow]:
    """The history of a cell, oldest attempt first.

    Args:
        db: the queue.
        name: its key; or a label, which may be that of several cells.

    Raises:
        NotFoundError: no cell is called that.
    """
    keys = db.execute("SELECT key FROM cells WHERE key = :name OR label = :name", {"name": name})
    found = [row["key"] for row in keys]
    if not found:
        known = db.execute("SELECT DISTINCT label FROM cells LIMIT 1000")
        labels = [row["label"] for row in known]
        near = unknown("cell", name, labels).partition("allowed")[0].rstrip()
        raise NotFoundError(f"{near} give a label, as in ST-CNN/tps/RTS/seed0, or a key")
    rows = db.execute(
        f"SELECT * FROM attempts WHERE key IN ({_marks(found)}) ORDER BY started_at, rowid",
        found,
    )
    return [_attempt(row) for row in rows]


def _attempt(row: sqlite3.Row) -> AttemptRow:
    ended_at = row["ended_at"]
    return AttemptRow(
        **{name: row[name] for name in ("attempt", "key", "job_id", "pack_size")},
        worker=WorkerInfo(**json.loads(row["worker"])),
        started_at=datetime.fromisoformat(row["started_at"]),
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        ending=row["ending"],
        charged=bool(row["charged"]),
        reason=row["reason"],
    )


def totals(db: sqlite3.Connection) -> Totals:
    """What is in the queue, and what has been."""

    def by(column: str, table: str) -> dict[Any, int]:
        rows = db.execute(f"SELECT {column} AS name, count(*) AS rows FROM {table} GROUP BY 1")
        return {row["name"]: row["rows"] for row in rows}

    [jobs] = db.execute("SELECT count(*) FROM jobs").fetchone()
    begun, waited = db.execute(
        "SELECT count(*), coalesce(sum(86400 * (julianday(started) - julianday(submitted_at))), 0) "
        "FROM (SELECT min(started_at) AS started, job_id FROM attempts GROUP BY key) "
        "JOIN jobs USING (job_id)"
    ).fetchone()
    attempts = by("ending", "attempts WHERE ending IS NOT NULL")
    return Totals(jobs, by("state", "cells"), attempts, begun, waited)


def unrecorded(db: sqlite3.Connection) -> list[str]:
    """Ids of the jobs that the store has no record of yet, oldest first."""
    rows = db.execute("SELECT job_id FROM jobs WHERE NOT recorded ORDER BY number")
    return [row["job_id"] for row in rows]


def job_record(db: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    """What the store keeps of a job: all that was submitted."""
    job = find_job(db, job_id)
    rows = db.execute(
        "SELECT spec, recipe FROM wants JOIN cells USING (key) WHERE wants.job = ? "
        "ORDER BY position",
        (job["number"],),
    )
    return {
        "job_id": job_id,
        "submitted_at": job["submitted_at"],
        "config": json.loads(job["config"]),
        "folder": job["folder"],
        "priority": job["priority"],
        "force": bool(job["force"]),
        "cells": [{**json.loads(row["spec"]), "recipe": row["recipe"]} for row in rows],
    }


def unfinished_like(db: sqlite3.Connection, digest: str) -> str | None:
    """The newest job that asks for just this, was not cancelled, and has cells yet to end."""
    row = db.execute(
        "SELECT job_id FROM jobs WHERE digest = ? AND cancelled_at IS NULL AND EXISTS "
        "(SELECT 1 FROM wants WHERE wants.job = number AND waits) ORDER BY number DESC LIMIT 1",
        (digest,),
    ).fetchone()
    return row and str(row["job_id"])


def ended(db: sqlite3.Connection) -> set[str]:
    """The keys of cells that have succeeded or failed: they go on from nothing."""
    rows = db.execute("SELECT key FROM cells WHERE state IN ('succeeded', 'failed')")
    return {row["key"] for row in rows}
