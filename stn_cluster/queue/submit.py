"""Changes that clients make: submit a job, cancel it, retry it.

A cell, or an evaluation, is shared by all jobs that want it; it is trained for the job that comes
first. An evaluation of a cell that is still to be trained waits for it.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from stn_cluster.errors import ConflictError, UserError
from stn_cluster.queue.attempts import ExitReason, utc_now
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.finish import close_attempt, fail_waiting
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.notifications import announce
from stn_cluster.queue.queries import find_job
from stn_cluster.queue.submission import ItemRow, Submission

# A cell that a client queues again starts with a new count of attempts.
_QUEUED_ANEW = (
    "state = 'queued', exhausted = 0, isolated = 0, failures = 0, requeues = 0, node_losses = 0, "
    "error = NULL"
)
_UNFINISHED = "state IN ('queued', 'running')"
# Cells that evaluations of other jobs wait for, and that nobody trains any more.
_STRANDED = """
    SELECT DISTINCT evaluates FROM cells AS waiting
    WHERE waiting AND state = 'queued' AND NOT EXISTS (
        SELECT 1 FROM cells WHERE key = waiting.evaluates AND state IN ('queued', 'running')
    )
"""
# The job that a cell is trained for: of those that wait for it, the one that comes first.
_FIRST_JOB = """
    SELECT number, jobs.priority FROM job_cells JOIN jobs ON jobs.number = job_cells.job
    WHERE job_cells.key = cells.key AND pending ORDER BY jobs.priority DESC, number LIMIT 1
"""


@dataclass(frozen=True)
class _Named:
    """A row of `cells`, as `KnownResults` wants it."""

    key: str
    evaluates: str | None


def submit(db: sqlite3.Connection, job: Submission, known: KnownResults) -> bool:
    """Accepts a job; once this returns, the job is never lost.

    Args:
        db: the queue.
        job: the job.
        known: cells with a success in it are not trained again, unless the job has `force`.

    Returns:
        Whether the job is new; submitting the same job with the same id again changes nothing.

    Raises:
        ConflictError: another job has this id.
        UserError: an evaluation is of a cell that has no result, and that the job does not train.
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
        position = itertools.count()
        for rows in job.rows():
            stored = _enqueue(db, number, job, rows, known, change)
            db.executemany(
                "INSERT INTO job_cells (job, position, key, recipe, stored, pending) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (number, next(position), x.key, x.recipe, x.key in stored, x.key not in stored)
                    for x in rows
                ],
            )
        announce(db, change, [number])
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
        for row in db.execute(_STRANDED).fetchall():
            fail_waiting(db, row["evaluates"], "its cell was cancelled", change)
        announce(db, change, [number])
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
        _take_stored(db, job, known, change)
        db.execute(
            "UPDATE job_cells SET cancelled = 0, pending = pending OR (SELECT state IN "
            "('failed', 'cancelled') OR cancelled AND (:force OR state != 'succeeded') "
            "FROM cells WHERE cells.key = job_cells.key) WHERE job = :number",
            dict(job),
        )
        after = wanted.format(which="pending")
        db.execute(
            "UPDATE jobs SET told = 0 WHERE number = ? AND EXISTS "
            "(SELECT 1 FROM job_cells WHERE job_cells.job = number AND pending)",
            (number,),
        )
        db.execute(
            f"UPDATE cells SET {_QUEUED_ANEW}, since = ?, changed = ? "
            f"WHERE {after} AND NOT {_UNFINISHED}",
            (known.watermark, change),
        )
        db.execute(f"UPDATE cells SET (job, priority) = ({_FIRST_JOB}) WHERE {after}")
        for row in db.execute(
            f"SELECT key, evaluates FROM cells WHERE {after} AND evaluates IS NOT NULL "
            "AND state = 'queued'"
        ).fetchall():
            result = (
                None if _is_unfinished(db, row["evaluates"]) else known.success(row["evaluates"])
            )
            db.execute(
                "UPDATE cells SET weights_attempt = ?, waiting = ? WHERE key = ?",
                (result and result.attempt, result is None, row["key"]),
            )
        # Of a cell that has no result, and that this job does not train.
        for row in db.execute(_STRANDED).fetchall():
            fail_waiting(db, row["evaluates"], "its cell has no result", change)
        announce(db, change, [number])
        pending = db.execute("SELECT count(*) FROM job_cells WHERE job = ? AND pending", (number,))
        return int(pending.fetchone()[0])


def _take_stored(
    db: sqlite3.Connection, job: sqlite3.Row, known: KnownResults, change: int
) -> None:
    """Gives the cells that a job's cancellation has ended the state that their results say.

    One of them may have got its result just after it was cancelled; and an evaluation has none any
    more whose cell was trained again since.
    """
    if job["force"]:
        return
    for row in db.execute(
        "SELECT key, evaluates, state FROM cells JOIN job_cells USING (key) WHERE "
        "job_cells.job = ? AND cancelled AND state IN ('succeeded', 'cancelled')",
        (job["number"],),
    ).fetchall():
        result = known.current(_Named(row["key"], row["evaluates"]))
        if result is None:
            db.execute("UPDATE cells SET state = 'cancelled' WHERE key = ?", (row["key"],))
        elif row["state"] == "cancelled":
            _take(db, row["key"], result, change)


def mark_recorded(db: sqlite3.Connection, job_id: str) -> None:
    """Marks that the store has the job's record."""
    with transaction(db):
        db.execute("UPDATE jobs SET recorded = 1 WHERE job_id = ?", (job_id,))


def _insert_job(db: sqlite3.Connection, job: Submission) -> int:
    number = db.execute(
        "INSERT INTO jobs (job_id, digest, config, folder, force, priority, submitted_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(job.job_id, job.digest, job.config, job.folder),
            *(job.force, job.priority, utc_now().isoformat()),
        ),
    ).lastrowid
    assert number is not None
    db.execute("DELETE FROM pruned WHERE job_id = ?", (job.job_id,))
    return number


def _enqueue(
    db: sqlite3.Connection,
    number: int,
    job: Submission,
    rows: Sequence[ItemRow],
    known: KnownResults,
    change: int,
) -> set[str]:
    """Queues work items, unless they are queued already or have a result.

    Returns:
        Keys of those that have a result.
    """
    keys = json.dumps([row.key for row in rows])
    present = db.execute(
        "SELECT key, state, job, priority FROM cells WHERE key IN (SELECT value FROM json_each(?))",
        (keys,),
    )
    before = {row["key"]: row for row in present}
    stored: set[str] = set()
    new = []
    for item in rows:
        row = before.get(item.key)
        if row is not None and not CellState(row["state"]).ended:
            if (-job.priority, number) < (-row["priority"], row["job"]):
                db.execute(
                    "UPDATE cells SET job = ?, priority = ? WHERE key = ?",
                    (number, job.priority, item.key),
                )
            continue
        weights, waiting = _weights_of(db, number, item, known)
        result = None if job.force or waiting else known.current(item)
        if result is not None:
            stored.add(item.key)
        if row is not None:
            _renew(db, number, job, item, result, known.watermark, change)
            db.execute(
                "UPDATE cells SET evaluates = ?, weights_attempt = ?, waiting = ? WHERE key = ?",
                (item.evaluates, weights, waiting, item.key),
            )
            continue
        state = CellState.QUEUED if result is None else CellState.SUCCEEDED
        new.append(
            (
                *(item.key, item.spec, item.label, item.stream, item.needs, item.cost, state),
                *(number, job.priority, result and result.attempt, result is not None),
                *(result and result.test_error, known.watermark, change),
                *(item.evaluates, weights, waiting),
            )
        )
    db.executemany(
        "INSERT INTO cells (key, spec, label, stream, needs, cost, state, job, priority, attempt, "
        "has_result, test_error, since, changed, evaluates, weights_attempt, waiting) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new,
    )
    return stored


def _renew(
    db: sqlite3.Connection,
    number: int,
    job: Submission,
    item: ItemRow,
    result: StoredResult | None,
    since: int,
    change: int,
) -> None:
    """Takes the result of a work item that had ended, or queues it again."""
    if result is not None:
        _take(db, item.key, result, change)
        return
    # A cancelled cell resumes from its checkpoint, a forced one starts from the beginning.
    checkpoint = "checkpoint_attempt = NULL, checkpoint_step = NULL, " if job.force else ""
    db.execute(
        f"UPDATE cells SET {_QUEUED_ANEW}, {checkpoint} spec = ?, needs = ?, cost = ?, "
        "job = ?, priority = ?, since = ?, changed = ? WHERE key = ?",
        (
            *(item.spec, item.needs, item.cost, number),
            *(job.priority, since, change, item.key),
        ),
    )


def _take(db: sqlite3.Connection, key: str, result: StoredResult, change: int) -> None:
    """Takes a result that the store has."""
    db.execute(
        "UPDATE cells SET state = ?, attempt = ?, has_result = 1, test_error = ?, "
        "error = NULL, checkpoint_attempt = NULL, checkpoint_step = NULL, changed = ? "
        "WHERE key = ?",
        (CellState.SUCCEEDED, result.attempt, result.test_error, change, key),
    )


def _weights_of(
    db: sqlite3.Connection, number: int, item: ItemRow, known: KnownResults
) -> tuple[str | None, bool]:
    """The attempt whose weights an evaluation is of, and whether it waits for its cell instead.

    Raises:
        UserError: neither is possible.
    """
    if item.evaluates is None:
        return None, False
    of_job = "SELECT 1 FROM job_cells WHERE key = ? AND job = ?"
    trained_here = db.execute(of_job, (item.evaluates, number)).fetchone() is not None
    if trained_here and _is_unfinished(db, item.evaluates):
        return None, True
    if (trained := known.success(item.evaluates)) is None:
        raise UserError(f"{item.label}: the store has no result of this cell to evaluate")
    return trained.attempt, False


def _is_unfinished(db: sqlite3.Connection, key: str) -> bool:
    found = db.execute(f"SELECT 1 FROM cells WHERE key = ? AND {_UNFINISHED}", (key,)).fetchone()
    return found is not None
