"""Ends of attempts: with a result, or lost, so that the cell is requeued.

The attempt's id is the fencing token: reports of any attempt but the cell's current one change
nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from stn_cluster.queue.attempts import Attempt, AttemptEnd, Checkpoint, ExitReason, utc_now
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.queue.notifications import announce
from stn_cluster.queue.queries import attempt_of

MAX_FAILURES = 3  # failures after which the cell is failed
MAX_NODE_LOSSES = 20  # the same for lost nodes, as the cell itself may be what kills them


def finish(db: sqlite3.Connection, results: Sequence[StoredResult]) -> list[bool]:
    """Records results that the store has accepted.

    Returns:
        For each, whether its attempt was the cell's current one.
    """
    with transaction(db, "result"):
        change = next_change(db)
        accepted = [_finish(db, result, change) for result in results]
        announce(db, change)
    return accepted


def _finish(db: sqlite3.Connection, result: StoredResult, change: int) -> bool:
    succeeded = result.error is None
    state = CellState.SUCCEEDED if succeeded else CellState.FAILED
    accepted = db.execute(
        "UPDATE cells SET state = :state, has_result = has_result OR :succeeded, "
        "test_error = CASE WHEN :succeeded THEN :test_error ELSE test_error END, "
        "error = :error, exhausted = 0, isolated = 0, checkpoint_attempt = NULL, "
        "checkpoint_step = NULL, changed = :change "
        "WHERE key = :key AND attempt = :attempt AND (state = 'running' OR exhausted)",
        {**asdict(result), "state": state, "succeeded": succeeded, "change": change},
    ).rowcount
    if not accepted:
        return False
    assert result.attempt is not None
    db.execute("UPDATE job_cells SET pending = 0 WHERE key = ?", (result.key,))
    close_attempt(db, result.attempt, ExitReason(state.value), result.error)
    if succeeded:  # also those that did not wait: they are of the newest weights
        db.execute(
            "UPDATE cells SET waiting = 0, weights_attempt = :attempt, changed = :change, "
            # What failed with other weights is not held against them.
            "exhausted = 0, isolated = 0, failures = 0, node_losses = 0 "
            "WHERE evaluates = :key AND state = 'queued'",
            {"attempt": result.attempt, "change": change, "key": result.key},
        )
    else:
        fail_waiting(db, result.key, f"its cell failed: {result.error}", change)
    return True


def fail_waiting(db: sqlite3.Connection, key: str, error: str, change: int) -> None:
    """Fails the evaluations that wait for a cell: there will be no weights."""
    waiting = "evaluates = ? AND waiting AND state = 'queued'"
    db.execute(
        "UPDATE job_cells SET pending = 0 "
        f"WHERE pending AND key IN (SELECT key FROM cells WHERE {waiting})",
        (key,),
    )
    db.execute(
        f"UPDATE cells SET state = 'failed', error = ?, waiting = 0, changed = ? WHERE {waiting}",
        (error, change, key),
    )


def requeue(db: sqlite3.Connection, ends: Mapping[str, AttemptEnd]) -> list[str]:
    """Requeues the cells of lost attempts.

    The death of a worker counts as a failure if the cell ran alone, or its end says so; otherwise
    each cell of the pack is isolated from then on.

    Args:
        db: the queue.
        ends: end of each attempt, by attempt id.

    Returns:
        Keys of the cells that were requeued: those whose attempt was still the current one.
    """
    requeued = []
    with transaction(db, "requeue"):
        for attempt, end in ends.items():
            row = db.execute(
                "SELECT cells.key, pack_size FROM cells JOIN attempts USING (attempt) "
                "WHERE cells.attempt = ? AND state = 'running'",
                (attempt,),
            ).fetchone()
            if row is None:
                continue
            death = end.reason in (ExitReason.DIED, ExitReason.EXPIRED, ExitReason.HUNG)
            counts = death and (end.counts or row["pack_size"] == 1)
            db.execute(
                "UPDATE cells SET state = 'queued', isolated = isolated OR :isolate, "
                "failures = failures + :counts, requeues = requeues + NOT :counts, "
                "node_losses = node_losses + :node, changed = :change, "
                "exhausted = failures + :counts >= :most OR node_losses + :node >= :most_nodes "
                "WHERE key = :key",
                {
                    "key": row["key"],
                    "isolate": death and not counts,
                    "counts": counts,
                    "node": end.reason == ExitReason.NODE_LOST,
                    "change": next_change(db),
                    "most": MAX_FAILURES,
                    "most_nodes": MAX_NODE_LOSSES,
                },
            )
            close_attempt(db, attempt, end.reason, end.message, counts)
            requeued.append(row["key"])
    return requeued


def exhausted(db: sqlite3.Connection) -> list[Attempt]:
    """Last attempts of cells whose retries are exhausted, which are to be stored as failed.

    The message of each one's end lists all ends that counted since the cell was last queued by a
    client, oldest first.
    """
    rows = db.execute("SELECT * FROM cells WHERE exhausted").fetchall()
    return [_with_history(db, row) for row in rows]


def _with_history(db: sqlite3.Connection, cell: sqlite3.Row) -> Attempt:
    newest = db.execute(
        "SELECT exit_reason, message FROM attempts "
        "WHERE key = ? AND (counts OR exit_reason = ?) ORDER BY rowid DESC LIMIT ?",
        (cell["key"], ExitReason.NODE_LOST, cell["failures"] + cell["node_losses"]),
    ).fetchall()
    ends = "\n".join(
        f"{number}. {row['exit_reason']}: {row['message']}"
        for number, row in enumerate(reversed(newest), 1)
    )
    last = attempt_of(db, cell["attempt"])
    assert last.end is not None
    return replace(last, end=replace(last.end, message=f"given up after these ends:\n{ends}"))


def save_checkpoints(
    db: sqlite3.Connection, saved: Sequence[Checkpoint]
) -> list[tuple[str, Checkpoint]]:
    """Records the checkpoints that running cells would resume from.

    Returns:
        Replaced checkpoints, with their cells' keys: they are not needed any more.
    """
    replaced = []
    with transaction(db):
        for checkpoint in saved:
            row = db.execute(
                "SELECT key, checkpoint_attempt, checkpoint_step FROM cells "
                "WHERE attempt = ? AND state = 'running'",
                (checkpoint.attempt,),
            ).fetchone()
            if row is None:
                continue
            db.execute(
                "UPDATE cells SET checkpoint_attempt = ?, checkpoint_step = ? WHERE key = ?",
                (checkpoint.attempt, checkpoint.step, row["key"]),
            )
            if row["checkpoint_attempt"] is not None:
                before = Checkpoint(row["checkpoint_attempt"], row["checkpoint_step"])
                if before != checkpoint:
                    replaced.append((row["key"], before))
    return replaced


def recover(db: sqlite3.Connection, known: KnownResults) -> tuple[int, list[tuple[str, str]]]:
    """Reconciles the queue with the store when a coordinator starts.

    A cell has ended if the store has its result, even if the queue does not know yet or the queue's
    file was lost. Cells that were running are requeued, which does not count as a failure.

    Returns:
        Number of cells that had ended; key and attempt of those that are requeued.
    """
    ended = 0
    with transaction(db):
        change = next_change(db)
        unfinished = db.execute(
            "SELECT key, attempt, since, exhausted, weights_attempt FROM cells "
            "WHERE state IN ('queued', 'running')"
        ).fetchall()
        for row in unfinished:
            result = known.after(row["key"], row["since"])
            if result is None or result.weights_attempt != row["weights_attempt"]:
                continue
            if result.attempt is None:  # of an evaluation, which every attempt computes alike
                result = replace(result, attempt=row["attempt"] or f"stored-{row['key']}")
            elif _superseded(db, row, result.attempt):
                continue
            if row["attempt"] and row["attempt"] != result.attempt:
                close_attempt(
                    db, row["attempt"], ExitReason.COORDINATOR_LOST, "its cell has a result"
                )
            db.execute(
                "UPDATE cells SET state = 'running', attempt = ? WHERE key = ?",
                (result.attempt, row["key"]),
            )
            _finish(db, result, change)
            ended += 1
        announce(db, change)
    running = db.execute("SELECT key, attempt FROM cells WHERE state = 'running'").fetchall()
    lost = AttemptEnd(ExitReason.COORDINATOR_LOST, "the coordinator ended")
    requeue(db, {row["attempt"]: lost for row in running})
    return ended, [(row["key"], row["attempt"]) for row in running]


def _superseded(db: sqlite3.Connection, cell: sqlite3.Row, attempt: str) -> bool:
    """Whether an attempt had ended without a result, so that it may not end the cell any more."""
    if cell["exhausted"] and cell["attempt"] == attempt:
        return False
    ended = "SELECT 1 FROM attempts WHERE attempt = ? AND ended_at IS NOT NULL"
    return db.execute(ended, (attempt,)).fetchone() is not None


def close_attempt(
    db: sqlite3.Connection,
    attempt: str,
    reason: ExitReason,
    message: str | None,
    counts: bool = False,
) -> None:
    """Records the end of an attempt in the history, unless it is already recorded."""
    db.execute(
        "UPDATE attempts SET ended_at = ?, exit_reason = ?, message = ?, counts = ? "
        "WHERE attempt = ? AND ended_at IS NULL",
        (utc_now().isoformat(), reason, message, counts, attempt),
    )
