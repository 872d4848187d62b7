"""Commands that show results of a store or a service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stn_cluster.cli.options import (
    DataRootOption,
    Filters,
    ServerOption,
    StoreOption,
    filtered,
    store_or_client,
)
from stn_cluster.errors import UserError


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
    typer.echo(listing(rows, filters, format), nl=False)


@filtered
def table(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")] = "text",
    reference: Annotated[str, typer.Option("--reference", help="paper or none.")] = "paper",
    interval: Annotated[
        bool,
        typer.Option("--interval", help="Add intervals, and mark what equals a column's best."),
    ] = False,
    correction: Annotated[
        str | None,
        typer.Option("--correction", help="Of the marks: holm (default) or benjamini-hochberg."),
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Print the comparison table: mean error over seeds, and the paper's number."""
    from stn_cluster.report.render import render
    from stn_cluster.report.table import comparison_table
    from stn_cluster.store import Store

    if correction is not None and not interval:
        raise UserError("--correction: goes with --interval")
    source = store_or_client(store, server)
    chosen: dict[str, Any] = {"reference": reference, "interval": interval}
    chosen |= {"correction": correction or "holm", **filters}
    if isinstance(source, Store):
        text = render(comparison_table(source, data_root=data_root, **chosen), format)
    else:
        text = source.table(format, **chosen)
    typer.echo(text, nl=False)
