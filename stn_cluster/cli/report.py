"""Command that writes the report of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stn_cluster.cli.options import DataRootOption, Filters, filtered
from stn_cluster.cli.output import say_all, write


@filtered
def report(
    filters: Filters,
    store: Annotated[str, typer.Option("--store", help="Result store: folder or URI.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Page, .html; default: report/report.html of the store."),
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images/--no-images", help="Show test images, if they may be passed on."),
    ] = True,
    data_root: DataRootOption = None,
) -> None:
    """Write a store's report: one HTML file that needs no network and no server, with tables,
    intervals, figures and any two cells to compare; beside it, the same as Markdown and LaTeX.

    Images, and labels that a store lacks, need the data set's files.
    """
    from stn_cluster.document.report_files import write_report_files

    made, files = write_report_files(store, output, data_root, pictures=images, **filters)
    write("".join(f"{file}\n" for file in files))
    say_all(f"left out: {what}: {why}" for what, why in made.left_out)
