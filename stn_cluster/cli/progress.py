"""Progress of a job until it ends, then its result: a table and an exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import typer

from stn_cluster.cli.output import ReaderGoneError, say, write
from stn_cluster.display.console import make_console
from stn_cluster.plain_text import one_line

if TYPE_CHECKING:
    from stn_cluster.queue.jobs import CellName, CellStatus, JobStatus

DONE, CELLS_FAILED, WRONG_INPUT, CHECK_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
BUG = 70  # an error of stn-cluster's own


def logs_command(cell: CellName, place: str = "") -> str:
    """The command that shows the log of a cell, or of an evaluation, for a shell."""
    name = cell.label if cell.tested_on is None else cell.key  # a store has no other name of it
    return f"stn-cluster logs {shlex.quote(one_line(name))} {place}".rstrip()


def follow(statuses: Iterator[JobStatus], interrupted: str) -> JobStatus:
    """Shows a job until it ends, and returns its last status.

    Args:
        statuses: statuses of the job, from the function that runs or watches it.
        interrupted: message after Ctrl-C.
    """
    from stn_cluster.display.progress_view import make_view, summary

    status: JobStatus | None = None
    try:
        # The view closes last, as closing the statuses may take time: it stops the workers.
        with make_view(make_console(sys.stderr)) as view, ExitStack() as stack:
            if hasattr(statuses, "close"):
                stack.callback(statuses.close)
            for status in statuses:
                view.update(status)
    except KeyboardInterrupt:
        progress = f" ({summary(status)})" if status is not None else ""
        say(f"interrupted{progress}: {interrupted}")
        raise typer.Exit(INTERRUPTED) from None
    assert status is not None, "a job has at least one status"
    return status


def print_result(table: str, cells: Iterable[CellStatus], place: str = "") -> None:
    """Prints the table, then the failed cells; exits with 1 if there are any.

    Args:
        table: the table.
        cells: all cells of the job.
        place: options of `stn-cluster logs` that name the store or the service.
    """
    from stn_cluster.queue.jobs import CellState

    # Whoever reads only the first lines of the table, as `head` does, still gets the exit code.
    with suppress(ReaderGoneError):
        write(table)
    failed = [status for status in cells if status.state is CellState.FAILED]
    for status in failed:
        line = one_line(f"{status.cell.label}: failed: {status.error}")
        say(f"{line} ({logs_command(status.cell, place)})")
    if failed:
        raise typer.Exit(CELLS_FAILED)
