"""Claims: a worker gets queued cells in packs, each cell as a new attempt."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

from stn_cluster.evaluations import Evaluation, WorkItem
from stn_cluster.grid import Needs
from stn_cluster.queue.attempts import Attempt, Checkpoint, WorkerInfo, utc_now
from stn_cluster.queue.database import next_change, transaction
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.queries import read_item


@dataclass(frozen=True)
class Demand:
    """Number of queued cells and evaluations with the same needs."""

    needs: Needs
    cells: int  # number of both
    priority: int  # highest priority among them
    job: int  # number of the oldest job with that priority


_ONLY = "(SELECT number FROM jobs WHERE job_id = :only)"
_WANTED_BY = (  # the first condition avoids many look-ups: most cells are trained for the job
    f"AND (job = {_ONLY} OR EXISTS (SELECT 1 FROM job_cells "
    f"WHERE job_cells.key = cells.key AND job_cells.job = {_ONLY} AND pending) "
    # or one of its evaluations waits for it, as for a rerun that another job has begun
    "OR EXISTS (SELECT 1 FROM cells AS evaluation JOIN job_cells USING (key) "
    "WHERE evaluation.evaluates = cells.key AND evaluation.waiting "
    f"AND job_cells.job = {_ONLY} AND pending))"
)


def demand(db: sqlite3.Connection, only: str | None = None) -> list[Demand]:
    """Counts what is queued and waits for no cell, by its needs; what comes first is at the top.

    Args:
        db: the queue.
        only: id of a job: only its cells are counted.
    """
    wanted = _WANTED_BY if only is not None else ""
    rows = db.execute(
        "SELECT needs, priority, min(job) AS job, count(*) AS cells "
        "FROM cells INDEXED BY cells_to_claim "
        f"WHERE state = 'queued' AND NOT exhausted AND NOT waiting {wanted} "
        "GROUP BY needs, priority ORDER BY priority DESC, min(job)",
        {"only": only},
    )
    by_needs: dict[str, Demand] = {}
    for row in rows:
        new = Demand(Needs.model_validate_json(row["needs"]), 0, row["priority"], row["job"])
        so_far = by_needs.get(row["needs"], new)
        by_needs[row["needs"]] = replace(so_far, cells=so_far.cells + row["cells"])
    return list(by_needs.values())


def claim(
    db: sqlite3.Connection,
    needs: Needs,
    size: Callable[[WorkItem], int],
    worker: WorkerInfo,
    only: str | None = None,
) -> tuple[Attempt, ...]:
    """Claims the next pack for a worker: the costliest cell of the job that comes first, and other
    cells of that job with the same stream; or so of evaluations.

    Args:
        db: the queue.
        needs: needs that the worker was started for; cells with exactly these are claimed.
        size: maximum size of a pack, as a function of its first cell.
        worker: the worker.
        only: id of a job: only its cells are claimed.

    Returns:
        The pack; empty if there is nothing to train.
    """
    wanted = _WANTED_BY if only is not None else ""
    parameters = {"needs": needs.text, "only": only}
    columns = (
        "key, spec, stream, job, priority, isolated, attempt, checkpoint_attempt, checkpoint_step, "
        "evaluates, weights_attempt, "
        "(SELECT recipe FROM job_cells "
        "WHERE job_cells.key = cells.key AND job_cells.job = cells.job) AS recipe"
    )
    with transaction(db, "claim"):
        first = db.execute(
            f"SELECT {columns} FROM cells INDEXED BY cells_to_claim "
            f"WHERE state = 'queued' AND needs = :needs AND NOT exhausted AND NOT waiting {wanted} "
            # Cells come first: of many that are trained, evaluations make larger packs.
            "ORDER BY priority DESC, job, evaluates IS NOT NULL, cost DESC, rowid LIMIT 1",
            parameters,
        ).fetchone()
        if first is None:
            return ()
        pack = [(first, read_item(first))]
        most = 1 if first["isolated"] else size(pack[0][1])
        if most > 1:
            more = db.execute(
                f"SELECT {columns} FROM cells INDEXED BY cells_by_stream "
                "WHERE state = 'queued' AND stream = :stream AND needs = :needs AND NOT exhausted "
                "AND NOT waiting AND NOT isolated AND job = :job AND priority = :priority "
                "AND key != :key "
                f"{wanted} ORDER BY cost DESC, rowid LIMIT :more",
                {**parameters, **dict(first), "more": most - 1},
            )
            pack += [(row, read_item(row)) for row in more]
        [job_id] = db.execute(
            "SELECT job_id FROM jobs WHERE number = ?", (first["job"],)
        ).fetchone()
        attempts = tuple(
            _attempt(row, item.renamed(row["recipe"]), job_id, len(pack), worker)
            for row, item in pack
        )
        _begin(db, attempts)
    return attempts


def _attempt(
    row: sqlite3.Row, item: WorkItem, job_id: str, pack_size: int, worker: WorkerInfo
) -> Attempt:
    resume_from = None
    if row["checkpoint_attempt"] is not None:
        resume_from = Checkpoint(row["checkpoint_attempt"], row["checkpoint_step"])
    return Attempt(
        id=uuid4().hex,
        cell=item.cell if isinstance(item, Evaluation) else item,
        job_id=job_id,
        pack_size=pack_size,
        worker=worker,
        started_at=utc_now(),
        resume_from=resume_from,
        is_first=row["attempt"] is None,
        evaluation=item if isinstance(item, Evaluation) else None,
        weights_attempt=row["weights_attempt"],
    )


def _begin(db: sqlite3.Connection, pack: Sequence[Attempt]) -> None:
    """Marks the cells of a pack as running, and adds the attempts to their history."""
    change, worker = next_change(db), json.dumps(asdict(pack[0].worker))
    db.executemany(
        "UPDATE cells SET state = ?, attempt = ?, changed = ? WHERE key = ?",
        [(CellState.RUNNING, attempt.id, change, attempt.item.key) for attempt in pack],
    )
    db.executemany(
        "INSERT INTO attempts (attempt, key, job_id, pack_size, worker, started_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [(a.id, a.item.key, a.job_id, a.pack_size, worker, a.started_at.isoformat()) for a in pack],
    )
