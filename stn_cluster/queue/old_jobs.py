"""Jobs that have ended: finding them, and forgetting them with what no other job has."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from stn_cluster.queue.attempts import utc_now
from stn_cluster.queue.database import FILE, QueueError, transaction

_UNFINISHED = "state IN ('queued', 'running')"


@dataclass(frozen=True)
class QueuedJob:
    """A job of the queue, with what it wants."""

    job_id: str
    ended_at: datetime | None  # UTC: the last end of an attempt at what it wants; None: not yet
    keys: frozenset[str]  # of its cells and evaluations


@dataclass(frozen=True)
class Forgotten:
    """Rows that were removed from the queue."""

    jobs: int = 0
    items: int = 0  # cells and evaluations
    attempts: int = 0


def queued_jobs(db: sqlite3.Connection) -> list[QueuedJob]:
    """All jobs of the queue, oldest first.

    Raises:
        QueueError: a time in it is none.
    """
    rows = db.execute(
        "SELECT number, job_id, submitted_at, cancelled_at, cancelled_at IS NULL AND EXISTS ("
        "SELECT 1 FROM job_cells JOIN cells USING (key) "
        f"WHERE job_cells.job = number AND (pending OR {_UNFINISHED})) AS unfinished, "
        "(SELECT max(ended_at) FROM attempts WHERE key IN "
        "(SELECT key FROM job_cells WHERE job_cells.job = number)) AS last_end "
        "FROM jobs ORDER BY number"
    ).fetchall()
    return [_queued_job(db, row) for row in rows]


def _queued_job(db: sqlite3.Connection, row: sqlite3.Row) -> QueuedJob:
    times = (row["submitted_at"], row["cancelled_at"], row["last_end"])
    keys = db.execute("SELECT key FROM job_cells WHERE job = ?", (row["number"],))
    try:
        last = max(datetime.fromisoformat(time) for time in times if time)
        if last.tzinfo is None:
            raise ValueError("it has no time zone")
    except (TypeError, ValueError) as error:  # of another hand than ours
        raise QueueError(f"{FILE}: a time of job {row['job_id']!r} is none: {error}") from error
    return QueuedJob(
        job_id=row["job_id"],
        ended_at=None if row["unfinished"] else last,
        keys=frozenset(key for [key] in keys),
    )


def pruned_jobs(db: sqlite3.Connection) -> set[str]:
    """Ids of the jobs that were forgotten."""
    return {job_id for [job_id] in db.execute("SELECT job_id FROM pruned")}


def unfinished_keys(db: sqlite3.Connection) -> set[str]:
    """Keys of what is queued or running, and of the cells that are evaluated by it."""
    rows = db.execute(f"SELECT key, evaluates FROM cells WHERE {_UNFINISHED}").fetchall()
    return {key for row in rows for key in row if key is not None}


def forget(
    db: sqlite3.Connection, job_ids: Collection[str], attempts: Iterable[str] = ()
) -> Forgotten:
    """Removes jobs that have ended, and all that no other job wants; once this returns, it is
    durable.

    Args:
        db: the queue.
        job_ids: the jobs.
        attempts: ended attempts whose history goes, too; a cell's last one stays.

    Returns:
        The removed rows.
    """
    with transaction(db, "prune"):
        db.execute("CREATE TEMP TABLE IF NOT EXISTS old (number INTEGER PRIMARY KEY)")
        db.execute("CREATE TEMP TABLE IF NOT EXISTS gone (key TEXT PRIMARY KEY)")
        try:
            return _forget(db, job_ids, attempts)
        finally:
            db.execute("DELETE FROM temp.old")
            db.execute("DELETE FROM temp.gone")


def _forget(db: sqlite3.Connection, job_ids: Collection[str], attempts: Iterable[str]) -> Forgotten:
    ids = [(job_id,) for job_id in job_ids]
    db.executemany("INSERT INTO temp.old SELECT number FROM jobs WHERE job_id = ?", ids)
    db.execute(
        "INSERT INTO temp.gone SELECT DISTINCT key FROM job_cells JOIN cells USING (key) "
        f"WHERE job_cells.job IN temp.old AND NOT ({_UNFINISHED}) AND NOT EXISTS ("
        "SELECT 1 FROM job_cells AS other WHERE other.key = job_cells.key "
        "AND other.job NOT IN temp.old)"
    )
    tried = db.execute("DELETE FROM attempts WHERE key IN temp.gone").rowcount
    items = db.execute("DELETE FROM cells WHERE key IN temp.gone").rowcount
    db.execute("DELETE FROM job_cells WHERE job IN temp.old")
    jobs = db.execute("DELETE FROM jobs WHERE number IN temp.old").rowcount
    # A later job may get the same number.
    db.execute("UPDATE cells SET job = NULL WHERE job IN temp.old")
    now = utc_now().isoformat()
    db.executemany(
        "INSERT OR REPLACE INTO pruned (job_id, pruned_at) VALUES (?, ?)",
        [(job_id, now) for [job_id] in ids],
    )
    for attempt in attempts:
        tried += db.execute(
            "DELETE FROM attempts WHERE attempt = ? AND ended_at IS NOT NULL "
            "AND attempt NOT IN (SELECT attempt FROM cells WHERE key = attempts.key "
            "AND attempt IS NOT NULL)",
            (attempt,),
        ).rowcount
    return Forgotten(jobs, items, tried)


def size(db: sqlite3.Connection) -> int:
    """Bytes of the queue, with those of removed rows that its file still has."""
    [pages], [page] = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    return int(pages * page)


def shrink(db: sqlite3.Connection) -> None:
    """Gives the disk what removed rows have taken.

    Raises:
        sqlite3.OperationalError: the disk has no room for a copy; nothing is lost.
    """
    [free] = db.execute("PRAGMA freelist_count").fetchone()
    if free:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
