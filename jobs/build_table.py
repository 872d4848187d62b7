"""Writes a store's comparison table to its report folder, and prints it.

ray job submit --working-dir . -- python jobs/build_table.py --store /shared/results
"""

from __future__ import annotations

from typing import Annotated

import typer
from ray_job import StoreOption, full_path, main

from stn_cluster.cli.options import Filters, filtered
from stn_cluster.cli.output import write
from stn_cluster.report.folder import write_tables
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store


@filtered
def build_table(
    filters: Filters,
    store: StoreOption,
    format: Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")] = "text",
    reference: Annotated[str, typer.Option("--reference", help="paper or none.")] = "paper",
) -> None:
    """Write report/table.md and table.csv of the whole store; print the filtered table."""
    opened = Store.open(full_path(store))
    opened.check()
    text = render(comparison_table(opened, reference, **filters), format)
    write_tables(opened)
    write(text)


if __name__ == "__main__":
    main(build_table)
