"""Attempts end: with a result, or come to nothing and the cell is queued again.

The attempt's id is the fencing token: what is said in the name of any but a cell's current attempt
changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stn_cluster.cluster.protocol import Checkpoint, WorkerInfo, utc_now
from stn_cluster.grid import Cell
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.known_results import KnownResults, StoredResult

MAX_ATTEMPTS = 3  # deaths charged to a cell before it is failed
MAX_NODE_LOSSES = 20  # uncharged ones of this kind: it may be the cell that takes its nodes away


class ExitReason(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # its own code raised, or its loss is not finite
    DIED = "died"  # its worker's process or device did
    EXPIRED = "expired"  # its worker was not heard of for a lease
    NODE_LOST = "node lost"
    COORDINATOR_LOST = "coordinator lost"
    INTERRUPTED = "interrupted"  # the service was stopped
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Loss:
    """An attempt that came to nothing."""

    attempt: str
    ending: ExitReason
    reason: str


@dataclass(frozen=True)
class Spent:
    """A cell that has used up its attempts: to be stored as failed."""

    cell: Cell
    attempt: str  # the last one
    job_id: str
    started_at: datetime  # UTC
    worker: WorkerInfo
    pack_size: int
    reasons: tuple[str, ...]  # of all ends that count, the first first


def finish(db: sqlite3.Connection, ends: Sequence[StoredResult]) -> list[bool]:
    """Notes results that the store has taken; for each, whether it was its cell's to give."""
    with transaction(db, "result"):
        change = next_change(db)
        return [_finish(db, end, change) for end in ends]


def _finish(db: sqlite3.Connection, end: StoredResult, change: int) -> bool:
    state = CellState.SUCCEEDED if end.error is None else CellState.FAILED
    taken = db.execute(
        "UPDATE cells SET state = ?, test_error = ?, error = ?, spent = 0, alone = 0, "
        "state_attempt = NULL, state_step = NULL, changed = ? "
        "WHERE key = ? AND attempt = ? AND (state = 'running' OR spent)",
        (state, end.test_error, end.error, change, end.key, end.attempt),
    ).rowcount
    if taken:
        db.execute("UPDATE wants SET waits = 0 WHERE key = ?", (end.key,))
        _close(db, end.attempt, ExitReason(state.value), end.error)
    return bool(taken)


def lose(db: sqlite3.Connection, losses: Iterable[Loss]) -> list[str]:
    """Queues the cells of lost attempts again; the keys of those that were still current.

    A death is charged to a cell that was alone; of a pack, each cell is tried alone from now on.
    """
    requeued = []
    with transaction(db, "loss"):
        for loss in losses:
            row = db.execute(
                "SELECT cells.key, pack_size FROM cells JOIN attempts USING (attempt) "
                "WHERE cells.attempt = ? AND state = 'running'",
                (loss.attempt,),
            ).fetchone()
            if row is None:
                continue
            death = loss.ending in (ExitReason.DIED, ExitReason.EXPIRED)
            charged = death and row["pack_size"] == 1
            db.execute(
                "UPDATE cells SET state = 'queued', alone = alone OR :alone, "
                "charged = charged + :charged, uncharged = uncharged + NOT :charged, "
                "node_losses = node_losses + :node, changed = :change, "
                "spent = charged + :charged >= :most OR node_losses + :node >= :most_nodes "
                "WHERE key = :key",
                {
                    "key": row["key"],
                    "alone": death and not charged,
                    "charged": charged,
                    "node": loss.ending == ExitReason.NODE_LOST,
                    "change": next_change(db),
                    "most": MAX_ATTEMPTS,
                    "most_nodes": MAX_NODE_LOSSES,
                },
            )
            _close(db, loss.attempt, loss.ending, loss.reason, charged)
            requeued.append(row["key"])
    return requeued


def spent(db: sqlite3.Connection) -> list[Spent]:
    """Cells that have used up their attempts, and wait to be stored as failed."""
    return [_spent(db, row) for row in db.execute("SELECT * FROM cells WHERE spent").fetchall()]


def _spent(db: sqlite3.Connection, row: sqlite3.Row) -> Spent:
    counted = (ExitReason.DIED, ExitReason.EXPIRED, ExitReason.NODE_LOST)
    history = db.execute(
        "SELECT ending, reason, charged FROM attempts WHERE key = ? ORDER BY rowid", (row["key"],)
    ).fetchall()
    reasons = [
        f"{attempt['ending']}: {attempt['reason']}"
        for attempt in history
        if attempt["ending"] in counted and (attempt["charged"] or attempt["ending"] == counted[-1])
    ]
    last = db.execute("SELECT * FROM attempts WHERE attempt = ?", (row["attempt"],)).fetchone()
    return Spent(
        cell=Cell.model_validate_json(row["spec"]),
        attempt=row["attempt"],
        job_id=last["job_id"],
        started_at=datetime.fromisoformat(last["started_at"]),
        worker=WorkerInfo(**json.loads(last["worker"])),
        pack_size=last["pack_size"],
        reasons=tuple(reasons[-(row["charged"] + row["node_losses"]) :]),
    )


def note_checkpoint(
    db: sqlite3.Connection, saved: Sequence[Checkpoint]
) -> list[tuple[str, Checkpoint]]:
    """Names the checkpoints that running cells would go on from.

    Returns:
        Those they replace, with their cells' keys: nothing goes on from them any more.
    """
    replaced = []
    with transaction(db):
        for checkpoint in saved:
            row = db.execute(
                "SELECT key, state_attempt, state_step FROM cells "
                "WHERE attempt = ? AND state = 'running'",
                (checkpoint.attempt,),
            ).fetchone()
            if row is None:
                continue
            db.execute(
                "UPDATE cells SET state_attempt = ?, state_step = ? WHERE key = ?",
                (checkpoint.attempt, checkpoint.step, row["key"]),
            )
            before = row["state_attempt"] and Checkpoint(row["state_attempt"], row["state_step"])
            if before and before != checkpoint:
                replaced.append((row["key"], before))
    return replaced


def recover(db: sqlite3.Connection, stored: KnownResults) -> tuple[int, list[tuple[str, str]]]:
    """Makes the queue agree with the store after whatever end the coordinator had.

    A cell whose end the store holds has ended, also where the queue had not come to know, or has
    forgotten it. Whatever ran is queued again, uncharged.

    Returns:
        How many cells were found ended; key and attempt of those that are queued again.
    """
    ended = 0
    with transaction(db):
        change = next_change(db)
        waiting = db.execute(
            "SELECT key, attempt, since, spent FROM cells WHERE state IN ('queued', 'running')"
        ).fetchall()
        for row in waiting:
            end = stored.after(row["key"], row["since"])
            if end is None or _superseded(db, row, end.attempt):
                continue
            if row["attempt"] and row["attempt"] != end.attempt:
                _close(db, row["attempt"], ExitReason.COORDINATOR_LOST, "its cell has a result")
            db.execute(
                "UPDATE cells SET state = 'running', attempt = ? WHERE key = ?",
                (end.attempt, row["key"]),
            )
            _finish(db, end, change)
            ended += 1
    running = db.execute("SELECT key, attempt FROM cells WHERE state = 'running'").fetchall()
    reason = "the coordinator ended"
    lose(db, [Loss(row["attempt"], ExitReason.COORDINATOR_LOST, reason) for row in running])
    return ended, [(row["key"], row["attempt"]) for row in running]


def _superseded(db: sqlite3.Connection, cell: sqlite3.Row, attempt: str) -> bool:
    """Whether an attempt had ended without a result, so that the cell was no more its to end."""
    if cell["spent"] and cell["attempt"] == attempt:
        return False
    ended = "SELECT 1 FROM attempts WHERE attempt = ? AND ended_at IS NOT NULL"
    return db.execute(ended, (attempt,)).fetchone() is not None


def _close(
    db: sqlite3.Connection,
    attempt: str,
    ending: ExitReason,
    reason: str | None,
    charged: bool = False,
) -> None:
    """Notes the end in the history, unless it is there already."""
    db.execute(
        "UPDATE attempts SET ended_at = ?, ending = ?, reason = ?, charged = ? "
        "WHERE attempt = ? AND ended_at IS NULL",
        (utc_now().isoformat(), ending, reason, charged, attempt),
    )
