"""A job that is looked at until it ends, and what comes of it: a table and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from stn_cluster.queue.jobs import CellStatus, JobStatus

DONE, CELLS_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
Watch = Callable[["JobStatus"], None]


def show(run: Callable[[Watch], JobStatus], interrupted: str) -> JobStatus:
    """Shows a job until it ends.

    Args:
        run: calls what it is given with the job's status, again and again, and returns the last.
        interrupted: what to say to whoever has pressed Ctrl-C.
    """
    from rich.console import Console

    from stn_cluster.cli.progress_view import make_view, summary

    last: list[JobStatus] = []
    try:
        with make_view(Console(stderr=True)) as view:

            def watch(status: JobStatus) -> None:
                last[:] = [status]
                view.update(status)

            return run(watch)
    except KeyboardInterrupt:
        where = f" ({summary(last[0])})" if last else ""
        typer.echo(f"interrupted{where}: {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def conclude(table: str, cells: Iterable[CellStatus]) -> None:
    """Prints the table, then what failed; exits with 1 if something has."""
    from stn_cluster.queue.jobs import CellState

    typer.echo(table, nl=False)
    failed = [status for status in cells if status.state is CellState.FAILED]
    for status in failed:
        typer.echo(f"{status.cell.label}: failed: {status.error}", err=True)
    if failed:
        raise typer.Exit(CELLS_FAILED)
