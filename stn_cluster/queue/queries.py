"""Queries of jobs, cells and attempts, which do not change the queue."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from stn_cluster.errors import NotFoundError, UserError, unknown
from stn_cluster.evaluations import Evaluation, WorkItem
from stn_cluster.grid import CELL_FILTERS, Cell
from stn_cluster.queue.attempts import Attempt, AttemptEnd, ExitReason, WorkerInfo
from stn_cluster.queue.jobs import (
    ALL_JOBS,
    EVERYTHING,
    CellName,
    CellState,
    CellStatus,
    JobPage,
    JobStatus,
    Page,
    Totals,
    job_state,
)

# For a cancelled job, the cells that it no longer wants are cancelled, whatever their state.
_STATE = "CASE WHEN cancelled THEN 'cancelled' ELSE state END"


def _in_spec(name: str) -> str:
    """A field of the cell, also of the one that is evaluated."""
    cell = "CASE WHEN evaluates IS NULL THEN spec ELSE json_extract(spec, '$.cell') END"
    return f"json_extract({cell}, '$.{name}')"


# SQL of the columns that a job's cells are filtered by; each job has its own name of the recipe.
_COLUMNS = {name: _in_spec(name) for name in CELL_FILTERS} | {
    "recipe": "job_cells.recipe",
    "key": "cells.key",
}
_NAME = ", ".join(f"{column} AS {name}" for name, column in _COLUMNS.items()) + (
    ", CASE WHEN evaluates IS NULL THEN coalesce(json_extract(spec, '$.settings.iterations'), 0) "
    "ELSE 0 END AS iterations, "
    # A label is that of a cell, ' on ' and the test set: see `Evaluation.label`.
    "CASE WHEN evaluates IS NOT NULL THEN substr(label, instr(label, ' on ') + 4) END AS tested_on"
)
_ATTEMPTS = """
    SELECT attempts.*, spec, evaluates, weights_attempt, coalesce((
        SELECT recipe FROM job_cells JOIN jobs ON jobs.number = job_cells.job
        WHERE jobs.job_id = attempts.job_id AND job_cells.key = attempts.key
    ), (SELECT recipe FROM job_cells WHERE job_cells.key = attempts.key)) AS recipe
    FROM attempts JOIN cells USING (key)
"""


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def find_job(db: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    """Row of a job.

    Raises:
        NotFoundError: there is no such job, or it was pruned.
    """
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM jobs WHERE job_id = ?", (job_id,)
    ).fetchone()
    if row is None:
        gone = db.execute("SELECT pruned_at FROM pruned WHERE job_id = ?", (job_id,)).fetchone()
        if gone is not None:
            raise NotFoundError(
                f"job {job_id!r} was pruned on {gone['pruned_at'][:10]}; its results are still in "
                "the store"
            )
        recent = db.execute("SELECT job_id FROM jobs ORDER BY number DESC LIMIT 20")
        known = [row["job_id"] for row in recent]
        raise NotFoundError(unknown("job", job_id, known) if known else f"unknown job {job_id!r}")
    return row


def jobs(db: sqlite3.Connection, page: JobPage = ALL_JOBS) -> list[JobStatus]:
    """Status of jobs, without their cells; oldest first, or newest first."""
    order = "DESC" if page.newest_first else "ASC"
    rows = db.execute(
        f"SELECT * FROM jobs ORDER BY number {order} LIMIT ? OFFSET ?", (page.limit, page.offset)
    ).fetchall()
    return [_job_status(db, row)[0] for row in rows]


def job_status(db: sqlite3.Connection, job_id: str) -> tuple[JobStatus, float]:
    """Status of a job without its cells, and the total cost of its unfinished cells.

    Raises:
        NotFoundError: there is no such job.
    """
    return _job_status(db, find_job(db, job_id))


def _job_status(db: sqlite3.Connection, row: sqlite3.Row) -> tuple[JobStatus, float]:
    by_state = db.execute(
        f"SELECT {_STATE} AS state, count(*) AS cells, sum(cost) AS cost, "
        "count(evaluates) AS evaluations "
        "FROM job_cells JOIN cells USING (key) WHERE job_cells.job = ? GROUP BY 1",
        (row["number"],),
    ).fetchall()
    counts = {CellState(group["state"]): group["cells"] for group in by_state}
    cost_left = sum(group["cost"] for group in by_state if not CellState(group["state"]).ended)
    status = JobStatus(
        job_id=row["job_id"],
        state=job_state(counts, row["cancelled_at"] is not None),
        counts=counts,
        priority=row["priority"],
        submitted_at=datetime.fromisoformat(row["submitted_at"]),
        evaluations=sum(group["evaluations"] for group in by_state),
    )
    return status, cost_left


def cells(
    db: sqlite3.Connection, job_id: str, page: Page = EVERYTHING
) -> tuple[list[tuple[str | None, CellStatus]], int]:
    """Cells of a job in its order, each with the id of its attempt while it runs.

    Args:
        db: the queue.
        job_id: the job.
        page: selection of its cells.

    Returns:
        The cells, and the number of the last change.

    Raises:
        NotFoundError: there is no such job.
        UserError: there is no such filter.
    """
    number = find_job(db, job_id)["number"]
    # Read first: cells that change during the query are then reported twice, instead of never.
    last = int(db.execute("SELECT coalesce(max(changed), 0) FROM cells").fetchone()[0])
    columns: dict[str, Sequence[Any]] = {f"({_STATE})": page.states} if page.states else {}
    for name, values in page.filters.items():
        if name not in _COLUMNS:
            raise UserError(unknown("filter", name, _COLUMNS))
        columns[_COLUMNS[name]] = values
    chosen = "".join(f" AND {column} IN ({_marks(values)})" for column, values in columns.items())
    parameters = [value for values in columns.values() for value in values]
    tables, new = "job_cells CROSS JOIN cells USING (key)", ""
    if page.since >= 0:  # only a few cells: they are looked up first (CROSS JOIN keeps the order)
        tables = "cells CROSS JOIN job_cells USING (key)"
        new = f"AND (changed > {page.since} OR state = 'running')"
    rows = db.execute(
        f"SELECT {_NAME}, stored, {_STATE} AS state, attempt, test_error, error "
        f"FROM {tables} WHERE job_cells.job = ? {new} {chosen} ORDER BY position LIMIT ? OFFSET ?",
        (number, *parameters, page.limit, page.offset),
    )
    statuses = [
        (row["attempt"] if row["state"] == "running" else None, _cell_status(row)) for row in rows
    ]
    return statuses, last


def _cell_status(row: sqlite3.Row) -> CellStatus:
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


def attempts(db: sqlite3.Connection, name: str) -> list[Attempt]:
    """Attempts at a cell, oldest first.

    Args:
        db: the queue.
        name: key of a cell; or a label, which several cells may have.

    Raises:
        NotFoundError: there is no such cell.
    """
    rows = db.execute("SELECT key FROM cells WHERE key = :name OR label = :name", {"name": name})
    keys = [row["key"] for row in rows]
    if not keys:
        known = db.execute("SELECT DISTINCT label FROM cells LIMIT 1000")
        labels = [row["label"] for row in known]
        near = unknown("cell", name, labels).partition("allowed")[0].rstrip()
        raise NotFoundError(f"{near} give a label, as in ST-CNN/tps/RTS/seed0, or a key")
    rows = db.execute(
        f"{_ATTEMPTS} WHERE key IN ({_marks(keys)}) ORDER BY started_at, attempts.rowid",
        keys,
    )
    return [_attempt(row) for row in rows]


def attempt_of(db: sqlite3.Connection, attempt: str) -> Attempt:
    """Attempt with this id, which must exist."""
    return _attempt(db.execute(f"{_ATTEMPTS} WHERE attempts.attempt = ?", (attempt,)).fetchone())


def _attempt(row: sqlite3.Row) -> Attempt:
    end = None
    if row["exit_reason"] is not None:
        end = AttemptEnd(
            ExitReason(row["exit_reason"]),
            row["message"],
            counts=bool(row["counts"]),
            at=datetime.fromisoformat(row["ended_at"]),
        )
    item = named_item(row)
    return Attempt(
        id=row["attempt"],
        cell=item.cell if isinstance(item, Evaluation) else item,
        job_id=row["job_id"],
        pack_size=row["pack_size"],
        worker=WorkerInfo(**json.loads(row["worker"])),
        started_at=datetime.fromisoformat(row["started_at"]),
        end=end,
        evaluation=item if isinstance(item, Evaluation) else None,
        weights_attempt=row["weights_attempt"],
    )


def read_item(row: sqlite3.Row) -> WorkItem:
    """Cell or evaluation of a row with `key`, `spec` and `evaluates`."""
    if row["evaluates"] is None:
        return Cell.model_validate_json(row["spec"]).with_key(row["key"])
    evaluation = Evaluation.model_validate_json(row["spec"])
    evaluation.cell.with_key(row["evaluates"])
    return evaluation.with_key(row["key"])


def named_item(row: sqlite3.Row) -> WorkItem:
    """Cell or evaluation of a row, with the job's own name of the `recipe`."""
    return read_item(row).renamed(row["recipe"])


def totals(db: sqlite3.Connection) -> Totals:
    """Counts over the whole queue, including its history."""

    def count_by(column: str, table: str) -> dict[Any, int]:
        rows = db.execute(f"SELECT {column} AS name, count(*) AS rows FROM {table} GROUP BY 1")
        return {row["name"]: row["rows"] for row in rows}

    [number] = db.execute("SELECT count(*) FROM jobs").fetchone()
    tried, waited = db.execute(
        "SELECT count(*), coalesce(sum(86400 * (julianday(started) - julianday(submitted_at))), 0) "
        "FROM (SELECT min(started_at) AS started, job_id FROM attempts GROUP BY key) "
        "JOIN jobs USING (job_id)"
    ).fetchone()
    return Totals(
        jobs=number,
        cells=count_by("state", "cells"),
        attempts=count_by("exit_reason", "attempts WHERE exit_reason IS NOT NULL"),
        tried_cells=tried,
        waited_seconds=waited,
    )


def unrecorded_jobs(db: sqlite3.Connection) -> list[str]:
    """Ids of the jobs that the store has no record of yet, oldest first."""
    rows = db.execute("SELECT job_id FROM jobs WHERE NOT recorded ORDER BY number")
    return [row["job_id"] for row in rows]


def job_record(db: sqlite3.Connection, job_id: str) -> bytes:
    """Record of a job for the store, as JSON: everything that was submitted.

    Cells are copied as text: as objects, those of a large job would take a gigabyte.
    """
    job = find_job(db, job_id)
    of_job = "FROM job_cells JOIN cells USING (key) WHERE job_cells.job = ?"
    evaluations = db.execute(
        f"SELECT key, label {of_job} AND evaluates IS NOT NULL ORDER BY position", (job["number"],)
    )
    record = {
        "job_id": job_id,
        "submitted_at": job["submitted_at"],
        "config": json.loads(job["config"]),
        "folder": job["folder"],
        "priority": job["priority"],
        "force": bool(job["force"]),
    }
    if labels := {row["key"]: row["label"] for row in evaluations}:
        record["evaluations"] = labels
    specs = db.execute(
        "SELECT CASE WHEN json_extract(spec, '$.recipe') = recipe THEN spec "
        f"ELSE json_set(spec, '$.recipe', recipe) END {of_job} AND evaluates IS NULL "
        "ORDER BY position",
        (job["number"],),
    )
    text = io.BytesIO()
    text.write(json.dumps(record, allow_nan=False)[:-1].encode() + b', "cells": [')
    for index, (spec,) in enumerate(specs):
        text.write((f", {spec}" if index else spec).encode())
    text.write(b"]}")
    return text.getvalue()


def unfinished_like(db: sqlite3.Connection, digest: str) -> str | None:
    """Id of the newest job with this digest that is not cancelled and has unfinished cells."""
    row = db.execute(
        "SELECT job_id FROM jobs WHERE digest = ? AND cancelled_at IS NULL AND EXISTS "
        "(SELECT 1 FROM job_cells WHERE job_cells.job = number AND pending) "
        "ORDER BY number DESC LIMIT 1",
        (digest,),
    ).fetchone()
    return row and str(row["job_id"])


def ended_keys(db: sqlite3.Connection) -> set[str]:
    """Keys of cells that have succeeded or failed, and never resume from a checkpoint.

    A cell that was cancelled while it was trained again keeps its success, and a checkpoint.
    """
    rows = db.execute(
        "SELECT key FROM cells WHERE state IN ('succeeded', 'failed') "
        "AND checkpoint_attempt IS NULL"
    )
    return {row["key"] for row in rows}
