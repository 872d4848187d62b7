"""Verification of a store: cells are trained again, elsewhere, and compared with what it has."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stn_cluster.cluster.present_cells import present_cells
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellState, Job, JobStatus, new_job_id
from stn_cluster.store import Store, Verification, differences, select

if TYPE_CHECKING:
    import pandas as pd

_MOST_LABELS = 3  # that a line names
_CHANGED = "its components, its data or its weights have changed since, so that it is another cell"


@dataclass(frozen=True)
class Drawn:
    """Cells to train again."""

    job: Job
    results: pd.DataFrame  # their rows of `cells`, which are verified: a rerun may add others
    total: int  # number of cells that they were drawn from
    left_out: Sequence[str]  # lines: which others cannot be verified, and why


def draw_cells(
    store: Store,
    filters: Mapping[str, Any],
    *,
    sample: int | None = None,
    sample_seed: int = 0,
    data_root: str | Path | None = None,
) -> Drawn:
    """Draws cells with a result from a store.

    Args:
        store: the store.
        filters: see `stn_cluster.load_results`.
        sample: number of cells; None, or more than there are: all.
        sample_seed: the same draws the same of the same cells.
        data_root: folder of the data sets' files.

    Raises:
        UserError: no cell matches, or none of those that do can be verified.
        StoreError: the store cannot be read.
    """
    if sample is not None and sample < 1:
        raise UserError(f"--sample: at least 1, not {sample}")
    rows = store.results()
    if rows.empty:
        raise UserError(f"{store.name}: no cell has ended here, so there is none to verify")
    predicted = set(store.read("predictions", columns=["attempt"])["attempt"].to_pylist())
    cell_now = present_cells(store, data_root)
    cells: dict[str, Cell] = {}
    reasons: dict[str, list[str]] = {}  # labels by why they are left out
    rows = select(rows, filters)
    for row in rows.to_dict("records"):
        try:
            _check_result(row, predicted)
            cell = cell_now(row["label"], row["spec"])
            if cell.key != row["key"]:
                raise UserError(_CHANGED)
            cells[cell.key] = cell
        except UserError as error:
            reason = str(error).removeprefix(f"{row['label']}: ")
            reasons.setdefault(reason, []).append(row["label"])
    left_out = [_line(reason, labels) for reason, labels in reasons.items()]
    if not cells:
        raise UserError(f"{store.name}: no cell can be verified: {left_out[0]}")
    keys = sorted(cells)  # so that neither the order of rows nor repeating it changes the job
    if sample is not None and sample < len(keys):
        keys = sorted(random.Random(sample_seed).sample(keys, sample))
    job = Job(new_job_id("verify"), tuple(cells[key] for key in keys), force=True)
    return Drawn(job, rows[rows["key"].isin(keys)], len(cells), left_out)


def _check_result(row: Mapping[Any, Any], predicted: set[str]) -> None:
    """Raises UserError if a cell has nothing that could be verified."""
    if row["status"] != "succeeded":
        raise UserError("failed")
    if row["attempt"] not in predicted:
        raise UserError("the store has no predictions of it")


def _line(reason: str, labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MOST_LABELS:,} more" if len(labels) > _MOST_LABELS else ""
    return f"{', '.join(labels[:_MOST_LABELS])}{more}: {reason}"


def compare_trained(
    store: Store, work: Store, drawn: Drawn, status: JobStatus
) -> list[Verification]:
    """Compares cells that were trained again with their stored results.

    Args:
        store: the store that is verified.
        work: the store that they were trained into.
        drawn: from `draw_cells`.
        status: last status of its job; cells that failed are left out.

    Raises:
        StoreError: a store cannot be read.
    """
    done = {s.cell.key for s in status.cells if s.state is CellState.SUCCEEDED}
    stored = dict(zip(drawn.results["key"], drawn.results["attempt"], strict=True))
    rows = work.results().to_dict("records")
    again = {stored[row["key"]]: row for row in rows if row["key"] in done}
    found = differences(store, work, {attempt: row["attempt"] for attempt, row in again.items()})
    now = datetime.now(UTC)
    return [
        Verification(
            key=row["key"],
            attempt=attempt,
            device=row["device"],
            torch=row["torch_version"],
            n_test=found[attempt].n_test,
            n_differ=found[attempt].n_differ,
            identical=found[attempt].identical,
            verified_at=now,
        )
        for attempt, row in again.items()
    ]
