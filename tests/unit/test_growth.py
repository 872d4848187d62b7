"""Work that grows with the number of cells, and not with its square."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.calls import calls
from support.records import make_cell, make_record

from stn_cluster.display.progress_view import matrix
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store

FEW, MANY = 60, 240


def models(count: int) -> list[Cell]:
    """Each an entry of its own in a table."""
    return [make_cell(model=f"M{index}") for index in range(count)]


def test_a_view_of_many_entries() -> None:
    def view(count: int) -> int:
        cells = tuple(CellStatus(CellName.of(cell), CellState.QUEUED) for cell in models(count))
        status = JobStatus("job", CellState.QUEUED, {CellState.QUEUED: count}, cells=cells)
        return calls(lambda: matrix(status))

    assert view(MANY) < 1.2 * MANY / FEW * view(FEW)


def test_a_table_of_cells_that_recipes_share(tmp_path: Path) -> None:
    def table(count: int) -> int:
        store = Store.open(tmp_path / str(count), create=True)
        cells = models(count)
        store.commit([make_record(cell) for cell in cells])
        renamed = [cell.model_copy(update={"recipe": "another"}) for cell in cells]
        specs = [cell.model_dump(mode="json") for cell in renamed]
        store.write_job("job", {"job_id": "job", "submitted_at": "", "config": {}, "cells": specs})
        found = comparison_table(store)
        assert list(found["recipe"]).count("another") == count
        return calls(lambda: comparison_table(store))

    assert table(MANY) < 1.2 * MANY / FEW * table(FEW)


def test_a_cell_of_many_jobs_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [cell.model_dump(mode="json") for cell in models(3)]
    for number in range(20):
        record = {"job_id": f"job{number}", "submitted_at": "", "config": {}, "cells": specs}
        store.write_job(f"job{number}", record)
    validated = []
    validate = Cell.model_validate
    monkeypatch.setattr(Cell, "model_validate", lambda spec: validated.append(1) or validate(spec))
    assert len(store.submitted()) == 3
    assert len(validated) == 3
