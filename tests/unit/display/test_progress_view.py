"""Views of a running job: plain lines if piped, a matrix on a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from stn_cluster.config_file import parse_config
from stn_cluster.display.progress_view import (
    PLAIN_PROGRESS_SECONDS,
    LiveView,
    PlainView,
    duration,
    make_view,
    matrix,
    summary,
)
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus, job_state
from stn_cluster.registry import resolve


def grid(**fields: Any) -> list[Cell]:
    return resolve(parse_config({"recipe": "smoke", **fields}))


FCN, CNN = grid(models=["FCN", "CNN"], distortions=["R"])
QUEUED = CellStatus(CellName.of(FCN))  # of 8 steps, as all cells of `smoke`


def running(cell: Cell, step: int) -> CellStatus:
    return CellStatus(CellName.of(cell), CellState.RUNNING, step=step)


def succeeded(cell: Cell, error: float, stored: bool = False) -> CellStatus:
    return CellStatus(CellName.of(cell), CellState.SUCCEEDED, 8, test_error=error, stored=stored)


def failed(cell: Cell, error: str = "ValueError: [no] luck") -> CellStatus:
    return CellStatus(CellName.of(cell), CellState.FAILED, 3, error=error)


def cancelled(cell: Cell) -> CellStatus:
    return CellStatus(CellName.of(cell), CellState.CANCELLED)


def job(*cells: CellStatus, **fields: Any) -> JobStatus:
    counts = Counter(cell.state for cell in cells)
    return JobStatus("job-1", job_state(counts, False), counts, cells=cells, **fields)


class Terminal:
    """A console on paper, with a clock of its own."""

    def __init__(self, terminal: bool = False) -> None:
        self.now = 100.0
        self.file = StringIO()
        self.console = Console(
            file=self.file,
            width=100,
            get_time=lambda: self.now,
            force_terminal=terminal,
            color_system=None,
        )

    def lines(self) -> list[str]:
        """Lines written since the previous call."""
        text = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        return text.splitlines()


# --- plain lines ---


def test_plain_lines_tell_how_many_cells_and_then_each_that_ends() -> None:
    paper = Terminal()
    with PlainView(paper.console) as view:
        view.update(job(QUEUED, running(CNN, 0)))
        assert paper.lines() == ["job-1: 2 cells"]
        view.update(job(running(FCN, 4), succeeded(CNN, 1.234)))
        assert paper.lines() == ["[1/2] CNN/none/R/seed0: test error 1.23 %"]
        view.update(job(failed(FCN), succeeded(CNN, 1.234)))
        assert paper.lines() == ["[2/2] FCN/none/R/seed0: failed: ValueError: [no] luck"]
        view.update(job(failed(FCN), succeeded(CNN, 1.234)))
    assert paper.lines() == []


def test_plain_lines_tell_of_cells_that_were_cancelled() -> None:
    paper = Terminal()
    view = PlainView(paper.console)
    view.update(job(cancelled(FCN)))
    assert paper.lines() == ["job-1: 1 cell", "[1/1] FCN/none/R/seed0: cancelled"]


def test_plain_lines_do_not_repeat_what_the_store_held() -> None:
    paper = Terminal()
    view = PlainView(paper.console)
    view.update(job(succeeded(FCN, 2.0, stored=True), running(CNN, 0)))
    view.update(job(succeeded(FCN, 2.0, stored=True), succeeded(CNN, 1.0)))
    assert paper.lines() == [
        "job-1: 2 cells, 1 of them in the store",
        "[2/2] CNN/none/R/seed0: test error 1.00 %",
    ]


def test_a_plain_line_now_and_then_shows_progress_where_nothing_ends() -> None:
    paper = Terminal()
    view = PlainView(paper.console)
    view.update(job(QUEUED, running(CNN, 1)))
    paper.lines()
    for _ in range(4):
        paper.now += PLAIN_PROGRESS_SECONDS / 4
        view.update(job(QUEUED, running(CNN, 1)))
    assert paper.lines() == []
    paper.now += 1
    view.update(job(QUEUED, running(CNN, 4), images_per_second=1234.0, eta_seconds=61.0))
    view.update(job(QUEUED, running(CNN, 5), images_per_second=1234.0, eta_seconds=61.0))
    assert paper.lines() == ["0 of 2 cells done, 1 running, 1,234 images/s, 1 min 1 s left"]


def test_trouble_with_the_store_is_told_once_and_so_is_its_end() -> None:
    paper = Terminal()
    view = PlainView(paper.console)
    view.update(job(QUEUED))
    paper.lines()
    for _ in range(2):
        view.update(job(QUEUED, trouble="/store/cells: disk full"))
    assert paper.lines() == ["/store/cells: disk full"]
    for _ in range(2):
        view.update(job(QUEUED))
    assert paper.lines() == ["the service has recovered"]


def test_what_cells_wait_for_is_told_once_and_again_when_it_changes() -> None:
    paper = Terminal()
    view = PlainView(paper.console)
    view.update(job(QUEUED))
    paper.lines()
    first = ("3 cells wait for a node with 1 GPU", "1 cell waits for a node with 2 big")
    for _ in range(2):
        view.update(job(QUEUED, waiting=first))
    assert paper.lines() == list(first)
    view.update(job(QUEUED, waiting=first[1:]))
    assert paper.lines() == list(first[1:])
    view.update(job(QUEUED))
    assert paper.lines() == []


def test_a_long_plain_line_is_not_broken() -> None:
    paper = Terminal()
    PlainView(paper.console).update(job(failed(FCN, "x" * 500)))
    assert len(paper.lines()) == 2


# --- the matrix ---


def drawn(status: JobStatus) -> str:
    paper = Terminal()
    paper.console.print(matrix(status))
    return "\n".join(paper.lines())


@pytest.mark.parametrize(
    ("cells", "entry"),
    [
        ([QUEUED], "queued"),
        ([running(FCN, 2)], "25%"),
        ([running(FCN, 0)], "0%"),
        ([succeeded(FCN, 1.239)], "1.24"),
        ([succeeded(FCN, 1.0, stored=True)], "1.00"),
        ([failed(FCN)], "failed"),
        ([succeeded(FCN, 1.0), succeeded(FCN, 2.0)], "1.50"),
        ([succeeded(FCN, 1.0), QUEUED], "50%"),
        ([succeeded(FCN, 1.0), failed(FCN)], "failed"),
        ([cancelled(FCN)], "cancelled"),
        ([succeeded(FCN, 1.0), cancelled(FCN)], "cancelled"),
        ([cancelled(FCN), failed(FCN)], "failed"),
    ],
)
def test_an_entry_of_the_matrix_shows_its_state_or_its_error(
    cells: list[CellStatus], entry: str
) -> None:
    (row,) = [line for line in drawn(job(*cells)).splitlines() if line.startswith("│ FCN")]
    assert [part.strip() for part in row.strip("│").split("│")] == ["FCN", entry]


def test_the_matrix_has_a_row_a_network_and_a_column_a_distortion() -> None:
    cells = grid(distortions=["R", "P:xy-42"])
    text = drawn(job(*(CellStatus(CellName.of(cell)) for cell in cells)))
    assert "digits, recipe smoke: test error in %" in text
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        "FCN",
        "CNN",
        *(
            f"{model} {t}"
            for model in ("ST-FCN", "ST-CNN")
            for t in ("affine", "projective", "tps")
        ),
    ]
    assert "P:xy-42" in text
    assert text.count("queued") == 16


def test_every_data_set_and_recipe_has_a_matrix_of_its_own() -> None:
    (other,) = grid(models=["FCN"], distortions=["R"], dataset="mnist", recipe="fast")
    text = " ".join(drawn(job(succeeded(FCN, 1.0), succeeded(other, 2.0))).split())
    assert "digits, recipe smoke: test error in %" in text
    assert "mnist, recipe fast: test error in %" in text
    assert "1.00" in text
    assert "2.00" in text


def test_the_matrix_tells_why_cells_failed_and_what_trouble_there_is() -> None:
    waiting = ("1 cell waits for a node with [1] GPU",)
    text = drawn(job(failed(FCN), running(CNN, 1), trouble="/store: disk full", waiting=waiting))
    assert "FCN/none/R/seed0: failed: ValueError: [no] luck" in text
    assert "/store: disk full" in text
    assert "1 cell waits for a node with [1] GPU" in text
    assert "0 of 2 cells done, 1 running, 1 failed" in text


def test_a_terminal_has_the_live_matrix_and_a_pipe_has_lines() -> None:
    assert isinstance(make_view(Terminal(terminal=True).console), LiveView)
    assert isinstance(make_view(Terminal().console), PlainView)


def test_the_live_matrix_is_drawn_at_each_update() -> None:
    paper = Terminal(terminal=True)
    with make_view(paper.console) as view:
        view.update(job(running(FCN, 4)))
        assert any("50%" in line for line in paper.lines())
        view.update(job(succeeded(FCN, 3.21)))
        assert any("3.21" in line for line in paper.lines())


# --- words ---


def test_a_summary_ends_with_the_job() -> None:
    known: dict[str, Any] = {"images_per_second": 10.0, "eta_seconds": 5.0}
    assert summary(job(QUEUED)) == "0 of 1 cells done"
    assert summary(job(running(FCN, 1), **known)).endswith("10 images/s, 5 s left")
    assert summary(job(succeeded(FCN, 1.0), failed(CNN), **known)) == "1 of 2 cells done, 1 failed"
    assert summary(job(cancelled(FCN), **known)) == "0 of 1 cells done, 1 cancelled"


def test_a_summary_needs_no_cells() -> None:
    counts = {CellState.SUCCEEDED: 1000, CellState.QUEUED: 98_998, CellState.RUNNING: 2}
    status = JobStatus("job-1", CellState.RUNNING, counts, eta_seconds=60.0)
    assert summary(status) == "1000 of 100000 cells done, 2 running, 1 min 0 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (3599.6, "1 h 0 min"),
        (11_100, "3 h 5 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_a_duration_is_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- evaluations ---


def evaluated(cell: Cell, on: str, error: float) -> CellStatus:
    name = replace(CellName.of(cell), key=on, tested_on=on, iterations=0)
    return CellStatus(name, CellState.SUCCEEDED, test_error=error)


def test_evaluations_are_a_matrix_of_trained_on_by_tested_on() -> None:
    cells = (succeeded(FCN, 1.0), evaluated(FCN, "RTS@2", 7.5), evaluated(FCN, "clean", 0.5))
    status = job(*cells, evaluations=2)
    paper = Terminal()
    paper.console.print(matrix(status))
    text = " ".join(paper.lines())
    assert "on other test sets: test error in %" in text
    assert "FCN R" in text
    assert "RTS@2" in text
    assert "7.50" in text
    assert summary(status) == "3 of 3 cells and evaluations done"
    assert summary(job(cells[1], evaluations=1)) == "1 of 1 evaluations done"


def test_a_pipe_is_told_which_evaluation_has_ended() -> None:
    paper = Terminal()
    with PlainView(paper.console) as view:
        view.update(job(evaluated(FCN, "RTS@2", 7.5), evaluations=1))
    assert paper.lines() == [
        "job-1: 1 evaluation",
        "[1/1] FCN/none/R/seed0 on RTS@2: test error 7.50 %",
    ]
