"""Progress of a job until it ends, then its result: a table and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from stn_cluster.queue.jobs import CellStatus, JobStatus

DONE, CELLS_FAILED, WRONG_INPUT, CHECK_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


def follow(statuses: Iterator[JobStatus], interrupted: str) -> JobStatus:
    """Shows a job until it ends, and returns its last status.

    Args:
        statuses: statuses of the job, from the function that runs or watches it.
        interrupted: message after Ctrl-C.
    """
    from rich.console import Console

    from stn_cluster.cli.progress_view import make_view, summary

    status: JobStatus | None = None
    try:
        # The view closes last, as closing the statuses may take time: it stops the workers.
        with make_view(Console(stderr=True)) as view, ExitStack() as stack:
            if hasattr(statuses, "close"):
                stack.callback(statuses.close)
            for status in statuses:
                view.update(status)
    except KeyboardInterrupt:
        progress = f" ({summary(status)})" if status is not None else ""
        typer.echo(f"interrupted{progress}: {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    assert status is not None, "a job has at least one status"
    return status


def print_result(table: str, cells: Iterable[CellStatus]) -> None:
    """Prints the table, then the failed cells; exits with 1 if there are any."""
    from stn_cluster.queue.jobs import CellState

    typer.echo(table, nl=False)
    failed = [status for status in cells if status.state is CellState.FAILED]
    for status in failed:
        typer.echo(f"{status.cell.label}: failed: {status.error}", err=True)
    if failed:
        raise typer.Exit(CELLS_FAILED)
