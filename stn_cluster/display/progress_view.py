"""Views of a running job: a live matrix on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stn_cluster.plain_text import one_line
from stn_cluster.queue.jobs import CellState, CellStatus, JobStatus, counted

PLAIN_PROGRESS_SECONDS = 30.0  # time between lines of progress while no cell ends
SHOWN_FAILURES = 5  # failed cells below the matrix


class View(Protocol):
    """View of a job, updated with each new status."""

    def __enter__(self) -> View: ...
    def __exit__(self, *error: object) -> None: ...
    def update(self, status: JobStatus) -> None:
        """Shows a status."""


def make_view(console: Console) -> View:
    """Makes a live matrix on a terminal that can redraw it, or else plain lines."""
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveView(console) if live else PlainView(console)


class LiveView:
    """View that redraws the matrix in place."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._open = ExitStack()

    def __enter__(self) -> LiveView:
        self._live = self._open.enter_context(
            Live(console=self.console, auto_refresh=False, transient=True)
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def update(self, status: JobStatus) -> None:
        """Redraws the matrix."""
        self._live.update(matrix(status), refresh=True)


class PlainView:
    """View with a line for each cell that ends, and a line of progress from time to time."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._printed: set[str] = set()
        self._trouble: str | None = None
        self._waiting: tuple[str, ...] = ()
        self._quiet_since: float | None = None
        self._started = False

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, status: JobStatus) -> None:
        """Prints what is new."""
        now = self.console.get_time()
        if not self._started:
            self._started = True
            stored = [s for s in status.cells if s.stored]
            self._printed |= {s.cell.key for s in stored}
            count = counted(len(status.cells), status.evaluations)
            in_store = f", {len(stored)} of them in the store" if stored else ""
            self._line(f"{one_line(status.job_id)}: {count}{in_store}")
            if status.left_out:
                self._line(status.left_out)
            self._quiet_since = now
        ended = [s for s in status.cells if s.state.ended and s.cell.key not in self._printed]
        for cell in ended:
            self._printed.add(cell.cell.key)
            self._line(
                f"[{len(self._printed)}/{len(status.cells)}] {cell.cell.label}: {_end(cell)}"
            )
        if status.trouble != self._trouble:
            self._trouble = status.trouble
            self._line(status.trouble or "the service has recovered")
        if status.waiting != self._waiting:
            self._waiting = status.waiting
            for text in status.waiting:
                self._line(text)
        if ended:
            self._quiet_since = now
        elif now - (self._quiet_since or now) > PLAIN_PROGRESS_SECONDS:
            self._quiet_since = now
            self._line(summary(status))

    def _line(self, text: str) -> None:
        line = one_line(text)
        self.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def matrix(status: JobStatus) -> RenderableType:
    """Job as a table: rows are models and transforms, columns are distortions."""
    blocks: list[RenderableType] = []
    grids: dict[tuple[str, str, bool], list[CellStatus]] = {}
    for cell in status.cells:
        evaluated = cell.cell.tested_on is not None
        grids.setdefault((cell.cell.dataset, cell.cell.recipe, evaluated), []).append(cell)
    for (dataset, recipe, evaluated), cells in grids.items():
        base, changed, _ = recipe.partition("+")
        own = f" ({base} with fields of its own)" if changed else ""
        where = ", on other test sets" if evaluated else ""
        title = one_line(f"{dataset}, recipe {recipe}{own}{where}: test error in %")
        blocks.append(Text(title, style="italic"))
        blocks.append(_grid(cells))
    blocks.append(Text(summary(status)))
    failed = [s for s in status.cells if s.state is CellState.FAILED]
    lines = [one_line(f"{s.cell.label}: failed: {s.error}") for s in failed[:SHOWN_FAILURES]]
    if len(failed) > SHOWN_FAILURES:
        lines.append(f"and {len(failed) - SHOWN_FAILURES} more failed")
    blocks += [Text(line, style="red") for line in lines]
    blocks += [Text(one_line(text), style="yellow") for text in status.waiting]
    if status.left_out:
        blocks.append(Text(one_line(status.left_out), style="dim"))
    if status.trouble:
        blocks.append(Text(one_line(status.trouble), style="bold red"))
    return Group(*blocks)


def _grid(cells: Iterable[CellStatus]) -> Table:
    """Cells of one data set and recipe as a table; columns are what they are tested on."""
    columns: dict[str, None] = {}  # in the order of appearance
    rows: dict[str, dict[str, list[CellStatus]]] = {}
    for status in cells:
        cell = status.cell
        name = cell.model if cell.transform == "none" else f"{cell.model} {cell.transform}"
        if cell.tested_on is not None:
            name = f"{name} {cell.distortion}"
        column = cell.tested_on or cell.distortion
        columns[column] = None
        rows.setdefault(name, {}).setdefault(column, []).append(status)
    table = Table()
    table.add_column("model", overflow="fold")  # not cropped, so that rows can be told apart
    for column in columns:
        table.add_column(Text(one_line(column)), justify="right", min_width=9, overflow="fold")
    for name, row in rows.items():
        table.add_row(Text(one_line(name)), *(_entry(row.get(column, ())) for column in columns))
    return table


def job_list(jobs: Iterable[JobStatus]) -> RenderableType:
    """Jobs as a table with one line per job."""
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("job", "state", "submitted (UTC)"):
        table.add_column(name, overflow="fold")
    for name in ("priority", "cells", *(state.value for state in CellState)):
        table.add_column(name, justify="right", overflow="fold")
    for job in jobs:
        submitted = f"{job.submitted_at:%Y-%m-%d %H:%M:%S}" if job.submitted_at else "-"
        counts = [str(job.counts.get(state, 0) or "-") for state in CellState]
        values = (
            one_line(job.job_id),
            job.state.value,
            submitted,
            str(job.priority),
            str(job.total),
        )
        table.add_row(*values, *counts)
    return table


def summary(status: JobStatus) -> str:
    """Progress in one line: '12 of 32 cells done, 2 running, 4,321 images/s, 2 min 10 s left'."""
    counts = status.counts
    what = "cells"
    if status.evaluations:
        what = "evaluations" if status.evaluations == status.total else "cells and evaluations"
    parts = [f"{counts.get(CellState.SUCCEEDED, 0)} of {status.total} {what} done"]
    others = (CellState.RUNNING, CellState.FAILED, CellState.CANCELLED)
    parts += [f"{counts[state]} {state.value}" for state in others if counts.get(state)]
    if not status.ended:
        if status.images_per_second:
            parts.append(f"{status.images_per_second:,.0f} images/s")
        if status.eta_seconds is not None:
            parts.append(f"{duration(status.eta_seconds)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Duration for people: '45 s', '2 min 10 s', '3 h 5 min'."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _entry(cells: Iterable[CellStatus]) -> Text:
    """One entry of the matrix: all seeds of a model, transform and distortion."""
    cells = list(cells)
    errors = [
        s.test_error for s in cells if s.state is CellState.SUCCEEDED and s.test_error is not None
    ]
    if not cells:
        return Text("")
    for state in (CellState.FAILED, CellState.CANCELLED):
        if any(s.state is state for s in cells):
            return Text(state.value, style="red")
    if len(errors) == len(cells):
        return Text(f"{sum(errors) / len(errors):.2f}", style="green")
    if all(s.state is CellState.SUCCEEDED for s in cells):
        return Text("not tested", style="green")
    running = [s for s in cells if s.state is CellState.RUNNING]
    if running or errors:
        progress = sum(s.step / max(1, s.cell.iterations) for s in cells) / len(cells)
        return Text(f"{progress:.0%}", style="yellow")
    return Text("queued", style="dim")


def _end(status: CellStatus) -> str:
    if status.state is CellState.FAILED:
        return f"failed: {status.error}"
    if status.state is CellState.CANCELLED:
        return "cancelled"
    if status.test_error is None:
        return "trained, not tested"
    return f"test error {status.test_error:.2f} %"
