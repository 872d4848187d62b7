"""What people change about jobs in the queue: cancel, retry."""

from __future__ import annotations

import sqlite3

from stn_cluster.cluster.messages import utc_now
from stn_cluster.cluster.queue.database import next_change, transaction
from stn_cluster.cluster.queue.endings import Ending, _close
from stn_cluster.cluster.queue.listing import find_job
from stn_cluster.cluster.queue.submission import FRESH
from stn_cluster.cluster.stored import StoredEnds

_UNFINISHED = "state IN ('queued', 'running')"
_OWNER = """
    SELECT {column} FROM wants JOIN jobs ON jobs.number = wants.job
    WHERE wants.key = cells.key AND NOT dropped ORDER BY jobs.priority DESC, number LIMIT 1
"""


def cancel(db: sqlite3.Connection, job_id: str) -> list[str]:
    """Drops a job's interest in its cells; those that no other job wants leave the queue.

    Returns:
        The attempts that were running at such cells. A job that has ended stays as it is.

    Raises:
        UserError: there is no such job.
    """
    number = find_job(db, job_id)["number"]
    with transaction(db):
        mine = f"key IN (SELECT key FROM wants WHERE job = {number}) AND {_UNFINISHED}"
        if not db.execute(f"SELECT 1 FROM cells WHERE {mine} LIMIT 1").fetchone():
            return []
        db.execute(
            "UPDATE jobs SET cancelled_at = ? WHERE number = ?", (utc_now().isoformat(), number)
        )
        db.execute(
            "UPDATE wants SET dropped = 1 WHERE job = ? "
            f"AND key IN (SELECT key FROM cells WHERE {mine})",
            (number,),
        )
        db.execute(
            f"UPDATE cells SET job = ({_OWNER.format(column='number')}), "
            f"priority = coalesce(({_OWNER.format(column='jobs.priority')}), 0), changed = ? "
            f"WHERE {mine}",
            (next_change(db),),
        )
        running = db.execute("SELECT attempt FROM cells WHERE state = 'running' AND job IS NULL")
        stopped = [row["attempt"] for row in running]
        for attempt in stopped:
            _close(db, attempt, Ending.CANCELLED, "no job wants the cell any more")
        db.execute(
            f"UPDATE cells SET state = 'cancelled', spent = 0 WHERE {_UNFINISHED} AND job IS NULL"
        )
    return stopped


def retry(db: sqlite3.Connection, job_id: str, stored: StoredEnds) -> int:
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
        db.execute("UPDATE wants SET dropped = 0 WHERE job = ?", (number,))
        mine = f"key IN (SELECT key FROM wants WHERE job = {number})"
        db.execute(
            f"UPDATE cells SET {FRESH}, since = ?, changed = ? "
            f"WHERE {mine} AND state IN ('failed', 'cancelled')",
            (stored.watermark, next_change(db)),
        )
        db.execute(
            f"UPDATE cells SET job = ({_OWNER.format(column='number')}), "
            f"priority = ({_OWNER.format(column='jobs.priority')}) WHERE {mine} AND {_UNFINISHED}"
        )
        waiting = db.execute(f"SELECT count(*) FROM cells WHERE {mine} AND {_UNFINISHED}")
        return int(waiting.fetchone()[0])
