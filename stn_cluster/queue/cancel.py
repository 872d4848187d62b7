"""What people change about jobs in the queue: cancel, retry."""

from __future__ import annotations

import sqlite3

from stn_cluster.cluster.protocol import utc_now
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.finish import ExitReason, _close
from stn_cluster.queue.known_results import KnownResults
from stn_cluster.queue.queries import find_job
from stn_cluster.queue.submit import FRESH

_UNFINISHED = "state IN ('queued', 'running')"
_OWNER = """
    SELECT {column} FROM wants JOIN jobs ON jobs.number = wants.job
    WHERE wants.key = cells.key AND waits ORDER BY jobs.priority DESC, number LIMIT 1
"""


def cancel(db: sqlite3.Connection, job_id: str) -> list[str]:
    """Drops a job's interest in its cells; those that no other job waits for leave the queue.

    One that was trained anew keeps the result that it had.

    Returns:
        The attempts that were running at such cells. A job that has ended stays as it is.

    Raises:
        UserError: there is no such job.
    """
    number = find_job(db, job_id)["number"]
    with transaction(db):
        waiting = db.execute(
            "UPDATE wants SET waits = 0, dropped = 1 WHERE job = ? AND waits", (number,)
        )
        if not waiting.rowcount:
            return []
        db.execute(
            "UPDATE jobs SET cancelled_at = ? WHERE number = ?", (utc_now().isoformat(), number)
        )
        mine = f"key IN (SELECT key FROM wants WHERE job = {number} AND dropped) AND {_UNFINISHED}"
        unwanted = f"{mine} AND ({_OWNER.format(column='number')}) IS NULL"
        running = db.execute(f"SELECT attempt FROM cells WHERE {unwanted} AND state = 'running'")
        stopped = [row["attempt"] for row in running]
        for attempt in stopped:
            _close(db, attempt, ExitReason.CANCELLED, "no job wants the cell any more")
        change = next_change(db)
        db.execute(
            "UPDATE cells SET spent = 0, job = NULL, changed = ?, "
            "state = CASE WHEN test_error IS NULL THEN 'cancelled' ELSE 'succeeded' END "
            f"WHERE {unwanted}",
            (change,),
        )
        db.execute(
            f"UPDATE cells SET job = ({_OWNER.format(column='number')}), "
            f"priority = ({_OWNER.format(column='jobs.priority')}), changed = ? WHERE {mine}",
            (change,),
        )
    return stopped


def retry(db: sqlite3.Connection, job_id: str, stored: KnownResults) -> int:
    """Queues a job's failed and cancelled cells anew, with a new count of attempts.

    A cancelled cell goes on from its last checkpoint.

    Returns:
        How many of its cells it waits for again.

    Raises:
        UserError: there is no such job.
    """
    job = find_job(db, job_id)
    number = job["number"]
    with transaction(db):
        db.execute("UPDATE jobs SET cancelled_at = NULL WHERE number = ?", (number,))
        mine = f"key IN (SELECT key FROM wants WHERE job = {number} AND (waits OR dropped))"
        change = next_change(db)
        db.execute(f"UPDATE cells SET changed = ? WHERE {mine}", (change,))
        db.execute(
            "UPDATE wants SET dropped = 0, waits = waits OR (SELECT state IN "
            "('failed', 'cancelled') OR dropped AND (:force OR state != 'succeeded') "
            "FROM cells WHERE cells.key = wants.key) WHERE job = :number",
            dict(job),
        )
        db.execute(
            f"UPDATE cells SET {FRESH}, since = ?, changed = ? WHERE {mine} AND NOT {_UNFINISHED}",
            (stored.watermark, change),
        )
        db.execute(
            f"UPDATE cells SET job = ({_OWNER.format(column='number')}), "
            f"priority = ({_OWNER.format(column='jobs.priority')}) WHERE {mine}"
        )
        waiting = db.execute("SELECT count(*) FROM wants WHERE job = ? AND waits", (number,))
        return int(waiting.fetchone()[0])
