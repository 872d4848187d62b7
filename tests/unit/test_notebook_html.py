"""What notebooks show of values: their texts, escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.notebook_html import MOST_ROWS, html_rows
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus
from stn_cluster.registry import resolve

EVIL = "<script>alert('1')</script>\x1b[31m\u202e&"
NEUTRAL = r"<script>alert('1')</script>\x1b[31m\u202e&"
[CELL] = resolve(parse_config({"recipe": "smoke", "models": ["CNN"], "distortions": ["R"]}))


class Table(HTMLParser):
    """Texts of an HTML fragment, row by row, and the names of all elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.rows: list[list[str]] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self._inside = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data

    @property
    def fields(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows if len(row) == 2}


def test_a_cell_shows_what_determines_its_result() -> None:
    html = CELL._repr_html_()
    assert "<b>CNN/none/R/seed0</b>" in html
    fields = Table(html).fields
    assert (fields["key"], fields["dataset"], fields["recipe"]) == (CELL.key, "digits", "smoke")
    assert (fields["variant"], fields["canvas"]) == ("plain", "28 px")
    assert "iterations: 8" in fields["settings"]
    assert "model:CNN: 2" in fields["revisions"]
    assert not {"network", "plugins"} & set(fields)


def test_a_job_shows_its_progress_and_its_cells() -> None:
    name = CellName.of(CELL)
    status = JobStatus(
        "job-1",
        CellState.RUNNING,
        {CellState.RUNNING: 1, CellState.SUCCEEDED: 1, CellState.FAILED: 0},
        submitted_at=datetime(2026, 1, 31, 18, 45, tzinfo=UTC),
        images_per_second=4321.0,
        eta_seconds=129.7,
        waiting=("1 cell waits for a GPU",),
        cells=(
            CellStatus(name, CellState.SUCCEEDED, 8, test_error=1.5),
            CellStatus(name, CellState.RUNNING, 3),
        ),
    )
    html = status._repr_html_()
    assert "<b>job-1</b>" in html
    table = Table(html)
    assert table.fields == {
        "state": "running",
        "cells": "2: 1 running, 1 succeeded",
        "submitted (UTC)": "2026-01-31 18:45:00",
        "time left": "0:02:10",
        "images per second": "4,321",
        "waiting": "1 cell waits for a GPU",
    }
    label = "CNN/none/R/seed0"
    assert table.rows[-2:] == [
        [label, "succeeded", "8 of 8", "1.50", ""],
        [label, "running", "3 of 8", "", ""],
    ]
    assert Table(status.cells[0]._repr_html_()).fields["test error in %"] == "1.50"


def test_a_job_without_its_cells_shows_their_counts() -> None:
    html = JobStatus("job-1", CellState.QUEUED, {CellState.QUEUED: 12_000})._repr_html_()
    assert Table(html).fields == {"state": "queued", "cells": "12,000: 12,000 queued"}


def test_text_of_others_is_text() -> None:
    cell: Cell = CELL.model_copy(update={"model": EVIL, "recipe": EVIL})
    failed = CellStatus(CellName.of(cell), CellState.FAILED, error=EVIL)
    job = JobStatus("job", CellState.FAILED, {CellState.FAILED: 1}, trouble=EVIL, cells=(failed,))
    for html in (cell._repr_html_(), failed._repr_html_(), job._repr_html_()):
        table = Table(html)
        assert "script" not in table.elements
        assert not {"\x1b", "\u202e"} & set(html)
    assert table.fields["trouble"] == NEUTRAL
    assert table.rows[-1][0] == f"{NEUTRAL}/none/R/seed0"
    assert table.rows[-1][-1] == NEUTRAL


def test_a_long_table_ends_and_says_how_many_more_there_are() -> None:
    html = html_rows(["n"], [(n,) for n in range(MOST_ROWS + 1200)])
    assert len(Table(html).rows) == 1 + MOST_ROWS
    assert "and 1,200 more" in html
    assert "more" not in html_rows(["n"], [(1,)])
