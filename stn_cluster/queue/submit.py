"""Jobs enter the queue; cells enter it with them, or are shared with jobs that came before."""

from __future__ import annotations

import sqlite3

from stn_cluster.cluster.protocol import utc_now
from stn_cluster.errors import ConflictError
from stn_cluster.grid import Cell
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.jobs import CellState, Job, done
from stn_cluster.queue.known_results import KnownResults, StoredResult

# What is forgotten of a cell that is queued anew.
FRESH = (
    "state = 'queued', spent = 0, alone = 0, charged = 0, uncharged = 0, node_losses = 0, "
    "error = NULL"
)


def submit(db: sqlite3.Connection, job: Job, stored: KnownResults) -> bool:
    """Accepts a job: once this returns it is never lost.

    Args:
        db: the queue.
        job: what to run.
        stored: cells that have succeeded there are not trained again, unless the job is forced.

    Returns:
        Whether it is new; the same job under the same id again changes nothing.

    Raises:
        ConflictError: another job has this id.
    """
    row = db.execute("SELECT digest FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
    if row is not None:
        if row["digest"] != job.digest:
            raise ConflictError(
                f"job id {job.job_id!r} is taken by a job that asks for other things"
            )
        return False
    with transaction(db, "submit"):
        number = _insert_job(db, job)
        change = next_change(db)
        wants = []
        for position, cell in enumerate(job.cells):
            has_result = _enter(db, number, job, cell, stored, change)
            wants.append((number, position, cell.key, cell.recipe, has_result, not has_result))
        db.executemany(
            "INSERT INTO wants (job, position, key, recipe, stored, waits) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            wants,
        )
    return True


def _insert_job(db: sqlite3.Connection, job: Job) -> int:
    number = db.execute(
        "INSERT INTO jobs (job_id, digest, config, folder, force, priority, submitted_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(job.job_id, job.digest, job.config, job.folder),
            *(job.force, job.priority, utc_now().isoformat()),
        ),
    ).lastrowid
    assert number is not None
    return number


def _enter(
    db: sqlite3.Connection, number: int, job: Job, cell: Cell, stored: KnownResults, change: int
) -> bool:
    """Queues a cell, unless it is there already or has its result; returns whether it has."""
    row = db.execute("SELECT state, job, priority FROM cells WHERE key = ?", (cell.key,)).fetchone()
    if row is not None and not done(row["state"]):
        if (-job.priority, number) < (-row["priority"], row["job"]):
            db.execute(
                "UPDATE cells SET job = ?, priority = ? WHERE key = ?",
                (number, job.priority, cell.key),
            )
        return False
    end = None if job.force else stored.success(cell.key)
    if row is None:
        _insert_cell(db, number, job, cell, end, stored.watermark, change)
    elif end is not None:
        db.execute(
            "UPDATE cells SET state = ?, attempt = ?, test_error = ?, error = NULL, changed = ? "
            "WHERE key = ?",
            (CellState.SUCCEEDED, end.attempt, end.test_error, change, cell.key),
        )
    else:
        # A cancelled cell goes on from its checkpoint, a forced one from the beginning.
        from_where = "state_attempt = NULL, state_step = NULL, " if job.force else ""
        db.execute(
            f"UPDATE cells SET {FRESH}, {from_where} spec = ?, needs = ?, cost = ?, job = ?, "
            "priority = ?, since = ?, changed = ? WHERE key = ?",
            (
                *(cell.model_dump_json(), needs_text(cell), cell.cost, number),
                *(job.priority, stored.watermark, change, cell.key),
            ),
        )
    return end is not None


def _insert_cell(
    db: sqlite3.Connection,
    number: int,
    job: Job,
    cell: Cell,
    end: StoredResult | None,
    since: int,
    change: int,
) -> None:
    db.execute(
        "INSERT INTO cells (key, spec, label, stream, needs, cost, state, job, priority, attempt, "
        "test_error, since, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(cell.key, cell.model_dump_json(), cell.label, str(cell.stream)),
            *(needs_text(cell), cell.cost, CellState.SUCCEEDED if end else CellState.QUEUED),
            *(number, job.priority, end and end.attempt, end and end.test_error, since, change),
        ),
    )


def needs_text(cell: Cell) -> str:
    """What a cell's worker needs, as the queue compares it."""
    return cell.needs.model_dump_json(exclude_defaults=True)
