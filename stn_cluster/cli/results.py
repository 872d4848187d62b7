"""Commands that show results of a store or a service."""

from __future__ import annotations

from typing import Annotated

import typer

from stn_cluster.cli.options import Filters, ServerOption, StoreOption, filtered, store_or_client
from stn_cluster.cli.output import write


@filtered
def results(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Print the current result of each cell of a store."""
    from stn_cluster.report.listing import check_format, listing
    from stn_cluster.store import Store, load_results

    check_format(format)
    source = store_or_client(store, server)
    rows = load_results(source) if isinstance(source, Store) else source.results(**filters)
    write(listing(rows, filters, format))


@filtered
def table(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")] = "text",
    reference: Annotated[str, typer.Option("--reference", help="paper or none.")] = "paper",
) -> None:
    """Print the comparison table: mean error over seeds, and the paper's number."""
    from stn_cluster.report.render import render
    from stn_cluster.report.table import comparison_table
    from stn_cluster.store import Store

    source = store_or_client(store, server)
    if isinstance(source, Store):
        text = render(comparison_table(source, reference, **filters), format)
    else:
        text = source.table(format, reference=reference, **filters)
    write(text)
