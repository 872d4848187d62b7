"""Changes that clients make: submit a job, cancel it, retry it.

A cell is shared by all jobs that want it; it is trained for the job that comes first.
"""

from __future__ import annotations

import sqlite3

from stn_cluster.errors import ConflictError
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import ExitReason, utc_now
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.finish import close_attempt
from stn_cluster.queue.jobs import CellState, Job
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.queries import find_job

# A cell that a client queues again starts with a new count of attempts.
_QUEUED_ANEW = (
    "state = 'queued', exhausted = 0, isolated = 0, failures = 0, requeues = 0, node_losses = 0, "
    "error = NULL"
)
_UNFINISHED = "state IN ('queued', 'running')"
# The job that a cell is trained for: of those that wait for it, the one that comes first.
_FIRST_JOB = """
    SELECT number, jobs.priority FROM job_cells JOIN jobs ON jobs.number = job_cells.job
    WHERE job_cells.key = cells.key AND pending ORDER BY jobs.priority DESC, number LIMIT 1
"""


def submit(db: sqlite3.Connection, job: Job, known: KnownResults) -> bool:
    """Accepts a job; once this returns, the job is never lost.

    Args:
        db: the queue.
        job: the job.
        known: cells with a success in it are not trained again, unless the job has `force`.

    Returns:
        Whether the job is new; submitting the same job with the same id again changes nothing.

    Raises:
        ConflictError: another job has this id.
    """
    row = db.execute("SELECT digest FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
    if row is not None:
        if row["digest"] != job.digest:
            raise ConflictError(
                f"job id {job.job_id!r} is already used by a job with other content"
            )
        return False
    with transaction(db, "submit"):
        number = _insert_job(db, job)
        change = next_change(db)
        wanted = []
        for position, cell in enumerate(job.cells):
            has_result = _enqueue(db, number, job, cell, known, change)
            wanted.append((number, position, cell.key, cell.recipe, has_result, not has_result))
        db.executemany(
            "INSERT INTO job_cells (job, position, key, recipe, stored, pending) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            wanted,
        )
    return True


def cancel(db: sqlite3.Connection, job_id: str) -> list[str]:
    """Cancels a job: cells that no other job waits for leave the queue.

    A cell that was being trained again keeps its earlier result. A job that has ended does not
    change.

    Returns:
        Ids of the running attempts at cells that nobody waits for any more.

    Raises:
        NotFoundError: there is no such job.
    """
    number = find_job(db, job_id)["number"]
    with transaction(db):
        pending = db.execute(
            "UPDATE job_cells SET pending = 0, cancelled = 1 WHERE job = ? AND pending", (number,)
        )
        if not pending.rowcount:
            return []
        db.execute(
            "UPDATE jobs SET cancelled_at = ? WHERE number = ?", (utc_now().isoformat(), number)
        )
        of_job = f"key IN (SELECT key FROM job_cells WHERE job = {number} AND cancelled)"
        unfinished = f"{of_job} AND {_UNFINISHED}"
        unwanted = f"{unfinished} AND NOT EXISTS ({_FIRST_JOB})"
        running = db.execute(f"SELECT attempt FROM cells WHERE {unwanted} AND state = 'running'")
        cancelled = [row["attempt"] for row in running]
        for attempt in cancelled:
            close_attempt(db, attempt, ExitReason.CANCELLED, "no job wants the cell any more")
        change = next_change(db)
        db.execute(
            "UPDATE cells SET exhausted = 0, job = NULL, changed = ?, "
            f"state = CASE WHEN has_result THEN 'succeeded' ELSE 'cancelled' END WHERE {unwanted}",
            (change,),
        )
        db.execute(
            f"UPDATE cells SET (job, priority) = ({_FIRST_JOB}), changed = ? WHERE {unfinished}",
            (change,),
        )
    return cancelled


def retry(db: sqlite3.Connection, job_id: str, known: KnownResults) -> int:
    """Queues a job's failed and cancelled cells again, with a new count of attempts.

    A cancelled cell resumes from its last checkpoint.

    Returns:
        Number of cells that the job now waits for.

    Raises:
        NotFoundError: there is no such job.
    """
    job = find_job(db, job_id)
    number = job["number"]
    with transaction(db):
        db.execute("UPDATE jobs SET cancelled_at = NULL WHERE number = ?", (number,))
        wanted = f"key IN (SELECT key FROM job_cells WHERE job = {number} AND {{which}})"
        before = wanted.format(which="(pending OR cancelled)")
        change = next_change(db)
        db.execute(f"UPDATE cells SET changed = ? WHERE {before}", (change,))
        db.execute(
            "UPDATE job_cells SET cancelled = 0, pending = pending OR (SELECT state IN "
            "('failed', 'cancelled') OR cancelled AND (:force OR state != 'succeeded') "
            "FROM cells WHERE cells.key = job_cells.key) WHERE job = :number",
            dict(job),
        )
        after = wanted.format(which="pending")
        db.execute(
            f"UPDATE cells SET {_QUEUED_ANEW}, since = ?, changed = ? "
            f"WHERE {after} AND NOT {_UNFINISHED}",
            (known.watermark, change),
        )
        db.execute(f"UPDATE cells SET (job, priority) = ({_FIRST_JOB}) WHERE {after}")
        pending = db.execute("SELECT count(*) FROM job_cells WHERE job = ? AND pending", (number,))
        return int(pending.fetchone()[0])


def mark_recorded(db: sqlite3.Connection, job_id: str) -> None:
    """Marks that the store has the job's record."""
    with transaction(db):
        db.execute("UPDATE jobs SET recorded = 1 WHERE job_id = ?", (job_id,))


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


def _enqueue(
    db: sqlite3.Connection, number: int, job: Job, cell: Cell, known: KnownResults, change: int
) -> bool:
    """Queues a cell, unless it is queued already or has a result; returns whether it has one."""
    row = db.execute("SELECT state, job, priority FROM cells WHERE key = ?", (cell.key,)).fetchone()
    if row is not None and not CellState(row["state"]).ended:
        if (-job.priority, number) < (-row["priority"], row["job"]):
            db.execute(
                "UPDATE cells SET job = ?, priority = ? WHERE key = ?",
                (number, job.priority, cell.key),
            )
        return False
    result = None if job.force else known.success(cell.key)
    if row is None:
        _insert_cell(db, number, job, cell, result, known.watermark, change)
    elif result is not None:
        db.execute(
            "UPDATE cells SET state = ?, attempt = ?, has_result = 1, test_error = ?, "
            "error = NULL, changed = ? WHERE key = ?",
            (CellState.SUCCEEDED, result.attempt, result.test_error, change, cell.key),
        )
    else:
        # A cancelled cell resumes from its checkpoint, a forced one starts from the beginning.
        checkpoint = "checkpoint_attempt = NULL, checkpoint_step = NULL, " if job.force else ""
        db.execute(
            f"UPDATE cells SET {_QUEUED_ANEW}, {checkpoint} spec = ?, needs = ?, cost = ?, "
            "job = ?, priority = ?, since = ?, changed = ? WHERE key = ?",
            (
                *(cell.model_dump_json(), cell.needs.text, cell.cost, number),
                *(job.priority, known.watermark, change, cell.key),
            ),
        )
    return result is not None


def _insert_cell(
    db: sqlite3.Connection,
    number: int,
    job: Job,
    cell: Cell,
    result: StoredResult | None,
    since: int,
    change: int,
) -> None:
    db.execute(
        "INSERT INTO cells (key, spec, label, stream, needs, cost, state, job, priority, attempt, "
        "has_result, test_error, since, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(cell.key, cell.model_dump_json(), cell.label, str(tuple(cell.stream))),
            *(cell.needs.text, cell.cost, CellState.SUCCEEDED if result else CellState.QUEUED),
            *(number, job.priority, result and result.attempt, result is not None),
            *(result and result.test_error, since, change),
        ),
    )
