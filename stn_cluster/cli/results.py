"""Commands that show results of a store or a service."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from stn_cluster.cli.options import Filters, ServerOption, StoreOption, filtered, store_or_client
from stn_cluster.cli.output import say, write


@filtered
def results(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Print the current result of each cell of a store."""
    from stn_cluster.report.listing import check_format, listing
    from stn_cluster.store import Store, load_results, select

    check_format(format)
    source = store_or_client(store, server)
    with _said():
        rows = load_results(source) if isinstance(source, Store) else source.results(**filters)
    write(listing(rows, filters, format))
    if isinstance(source, Store):
        _say(source.outdated(lambda: select(rows, filters)["key"]))


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
    from stn_cluster.report.table import comparison_table, shown_keys
    from stn_cluster.store import Store

    source = store_or_client(store, server)
    if isinstance(source, Store):
        text = render(comparison_table(source, reference, **filters), format)
    else:
        with _said():
            text = source.table(format, reference=reference, **filters)
    write(text)
    if isinstance(source, Store):
        _say(source.outdated(lambda: shown_keys(source, **filters)))


@contextmanager
def _said() -> Iterator[None]:
    """Says in a line each what a service's answer within the block warns of."""
    from stn_cluster.store import OutdatedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutdatedWarning)
        yield
    _say([str(w.message) for w in caught if issubclass(w.category, OutdatedWarning)])


def _say(lines: list[str]) -> None:
    for line in lines:
        say(line)
