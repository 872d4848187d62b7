"""Which view a call of `run_grid` has: a terminal's, a pipe's, a notebook's, or none."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from stn_cluster.config_file import parse_config
from stn_cluster.display.choice import view_of_call
from stn_cluster.display.notebook_view import NotebookView, in_notebook
from stn_cluster.display.progress_view import LiveView, PlainView
from stn_cluster.queue.jobs import CellName, CellState, CellStatus, JobStatus
from stn_cluster.registry import resolve


class Stream(io.StringIO):
    """Standard error, which may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def status(state: CellState = CellState.RUNNING, **fields: Any) -> JobStatus:
    config = {"recipe": "smoke", "models": ["CNN"], "distortions": ["R"]}
    [cell] = resolve(parse_config(config))
    error = 1.5 if state is CellState.SUCCEEDED else None
    cells = (CellStatus(CellName.of(cell), state, 4, error),)
    return JobStatus("job-1", state, {state: 1}, cells=cells, **fields)


@pytest.mark.parametrize(
    ("terminal", "progress", "watched", "expected"),
    [
        (True, None, False, LiveView),
        (True, None, True, None),
        (True, False, False, None),
        (True, True, True, LiveView),
        (False, None, False, None),
        (False, True, False, PlainView),
        (False, False, True, None),
    ],
)
def test_a_call_shows_progress_on_a_terminal_or_where_it_is_asked_to(
    terminal: bool,
    progress: bool | None,
    watched: bool,
    expected: type | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Stream(terminal))
    with view_of_call(progress, watched=watched) as view:
        assert type(view) is (expected or type(None))


def test_what_the_grid_leaves_out_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with view_of_call(True, watched=False) as view:
        assert view is not None
        for _ in range(2):
            view.update(status(left_out="not in the grid: CNN with affine"))
    assert stream.getvalue().splitlines() == ["job-1: 1 cell", "not in the grid: CNN with affine"]


class Kernel:
    """IPython's part in a notebook, which is not installed here: `display`, and its handle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, kernel: bool = True) -> None:
        self.outputs: list[dict[str, str]] = []
        self.updates: list[dict[str, str]] = []
        shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
        package, module = ModuleType("IPython"), ModuleType("IPython.display")
        package.get_ipython = lambda: shell  # type: ignore[attr-defined]
        package.display = module  # type: ignore[attr-defined]
        module.display = self.display  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", package)
        monkeypatch.setitem(sys.modules, "IPython.display", module)

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Kernel:
        assert raw
        assert display_id
        self.outputs.append(data)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.updates.append(data)


def test_a_notebook_has_one_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    monkeypatch.setattr(sys, "stderr", stream := Stream(terminal=False))
    with view_of_call(None, watched=False) as view:
        assert isinstance(view, NotebookView)
        view.update(status())
        view.update(status(CellState.SUCCEEDED))
    assert len(kernel.outputs) == len(kernel.updates) == 1
    assert stream.getvalue() == ""
    [first], [last] = kernel.outputs, kernel.updates
    assert "50%" in first["text/plain"]
    assert "1.50" in last["text/plain"]
    assert last["text/html"].startswith("<pre ")
    assert "1.50" in last["text/html"]
    assert "1 of 1 cells done" in last["text/plain"]


def test_a_notebook_shows_nothing_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch)
    with view_of_call(False, watched=False) as view:
        assert view is None


def test_ipythons_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, kernel=False)
    assert not in_notebook()
