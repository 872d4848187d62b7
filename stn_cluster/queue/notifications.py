"""Notifications: who is told of ended jobs and failed cells, and what is still to be delivered.

They are added in the transaction that ends a cell or a job, so that no crash loses one. Each goes
to every target, which only its digest names here; it stays until it is delivered or given up.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from stn_cluster.plain_text import one_line
from stn_cluster.queue.attempts import utc_now
from stn_cluster.queue.database import transaction
from stn_cluster.queue.jobs import CellName, JobStatus
from stn_cluster.queue.queries import job_status, named_item

VERSION = 1  # of a notification's schema
MOST_FAILURES = 20  # that are told with the end of a job
MAX_AGE_SECONDS = 3 * 24 * 3600.0  # after which a notification is given up
MAX_TRIES = 100
FIRST_PAUSE_SECONDS = 2.0  # after the first failed try; then twice as long, and so on
LONGEST_PAUSE_SECONDS = 3600.0
_NAMES = ("key", "model", "transform", "distortion", "seed", "dataset", "recipe", "tested_on")


@dataclass(frozen=True)
class Notification:
    """A notification for one target."""

    number: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Given:
    """End of a try to deliver one."""

    number: int
    failure: str | None = None  # None: it was delivered


def set_targets(db: sqlite3.Connection, targets: Collection[str]) -> int:
    """Sets who is told from now on; jobs that have ended before are not told of.

    Returns:
        Number of notifications that were given up: they are too old, and for nobody of these.
    """
    with transaction(db):
        if db.execute("SELECT 1 FROM targets").fetchone() is None:
            db.execute(
                "UPDATE jobs SET told = 1 WHERE NOT EXISTS "
                "(SELECT 1 FROM job_cells WHERE job_cells.job = number AND pending)"
            )
        db.execute("DELETE FROM targets")
        db.executemany("INSERT INTO targets VALUES (?)", [(target,) for target in {*targets}])
        return db.execute(
            "DELETE FROM notifications WHERE made < ? "
            "AND target NOT IN (SELECT target FROM targets)",
            (time.time() - MAX_AGE_SECONDS,),
        ).rowcount


def announce(db: sqlite3.Connection, change: int, jobs: Iterable[int] = ()) -> None:
    """Adds notifications of what has just ended, within the transaction that ended it.

    Args:
        db: the queue.
        change: number of the change: cells that it failed, and jobs of the cells that it changed.
        jobs: numbers of further jobs that may have ended.
    """
    if db.execute("SELECT 1 FROM targets").fetchone() is None:
        return
    statuses: dict[str, dict[str, Any]] = {}  # of jobs, which many cells share
    for row in db.execute(
        "SELECT key, spec, evaluates, attempt, error, (SELECT recipe FROM job_cells "
        "WHERE job_cells.key = cells.key) AS recipe FROM cells "
        "WHERE changed = ? AND state = 'failed' ORDER BY rowid",
        (change,),
    ).fetchall():
        wanted = db.execute(
            "SELECT job_id FROM job_cells JOIN jobs ON jobs.number = job WHERE key = ? "
            "ORDER BY number",
            (row["key"],),
        )
        ids = [job_id for [job_id] in wanted.fetchall()]
        statuses |= {i: _job(job_status(db, i)[0]) for i in ids if i not in statuses}
        told = [statuses[job_id] for job_id in ids]
        _add(db, {"event": "cell_failed", "cell": _cell(row), "jobs": told})
    found = db.execute(
        "SELECT DISTINCT job_cells.job FROM job_cells JOIN cells USING (key) WHERE changed = ?",
        (change,),
    ).fetchall()
    for number in sorted({*jobs, *(job for [job] in found)}):
        _announce_end(db, number)


def _announce_end(db: sqlite3.Connection, number: int) -> None:
    """Adds notifications of the end of a job, if it has ended and nobody was told yet."""
    row = db.execute(
        "SELECT job_id FROM jobs WHERE number = ? AND NOT told AND NOT EXISTS "
        "(SELECT 1 FROM job_cells WHERE job_cells.job = number AND pending)",
        (number,),
    ).fetchone()
    status = row and job_status(db, row["job_id"])[0]
    if not status or not status.ended:
        return
    failed = db.execute(
        "SELECT key, spec, evaluates, attempt, error, recipe FROM job_cells "
        "JOIN cells USING (key) WHERE job_cells.job = ? AND state = 'failed' "
        "ORDER BY position LIMIT ?",
        (number, MOST_FAILURES),
    )
    cells = [_cell(one) for one in failed.fetchall()]
    _add(db, {"event": "job_ended", "job": _job(status), "failed": cells})
    db.execute("UPDATE jobs SET told = 1 WHERE number = ?", (number,))


def due(db: sqlite3.Connection, target: str, limit: int) -> list[Notification]:
    """Notifications that may be delivered to a target now, oldest first."""
    rows = db.execute(
        "SELECT number, body FROM notifications WHERE target = :target "
        # None waits longer than that, unless the clock has been set back since.
        "AND (due <= :now OR due > :now + :longest) ORDER BY number LIMIT :limit",
        {
            "target": target,
            "now": time.time(),
            "longest": LONGEST_PAUSE_SECONDS,
            "limit": limit,
        },
    )
    return [Notification(row["number"], json.loads(row["body"])) for row in rows]


def settle(db: sqlite3.Connection, ends: Sequence[Given]) -> list[int]:
    """Takes what became of tries: what was delivered goes, what was not is due later.

    Returns:
        Numbers of those that are given up: they are too old, or were tried too often.
    """
    given_up = []
    now = time.time()
    with transaction(db):
        for end in ends:
            row = db.execute(
                "SELECT tries, made FROM notifications WHERE number = ?", (end.number,)
            ).fetchone()
            if row is None:  # settled before
                continue
            tries = row["tries"] + 1
            ended = tries >= MAX_TRIES or now - row["made"] > MAX_AGE_SECONDS
            if end.failure is None or ended:
                db.execute("DELETE FROM notifications WHERE number = ?", (end.number,))
                given_up += [] if end.failure is None else [end.number]
                continue
            db.execute(
                "UPDATE notifications SET tries = ?, due = ? WHERE number = ?",
                (tries, now + pause_after(tries), end.number),
            )
    return given_up


def pause_after(failures: int) -> float:
    """Seconds between a failed try and the next one."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))


def _add(db: sqlite3.Connection, event: dict[str, Any]) -> None:
    at = _utc_text(utc_now(), "microseconds")
    body = json.dumps({"version": VERSION, "id": uuid4().hex, "at": at, **event})
    now = time.time()
    db.execute(
        "INSERT INTO notifications (target, body, made, due) "
        "SELECT target, ?, ?, ? FROM targets ORDER BY target",
        (body, now, now),
    )


def _cell(row: sqlite3.Row) -> dict[str, Any]:
    name = CellName.of(named_item(row))
    fields = {field: getattr(name, field) for field in _NAMES}
    error = None if row["error"] is None else one_line(row["error"])
    return {"label": name.label, **fields, "attempt": row["attempt"], "error": error}


def _job(status: JobStatus) -> dict[str, Any]:
    return {
        "job_id": status.job_id,
        "state": status.state.value,
        "total": status.total,
        "counts": {state.value: count for state, count in status.counts.items()},
        "evaluations": status.evaluations,
        "priority": status.priority,
        "submitted_at": status.submitted_at and _utc_text(status.submitted_at),
    }


def _utc_text(moment: datetime, timespec: str = "auto") -> str:
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")
