"""Commands that show results of a store or a service."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Annotated, Any

import typer

from stn_cluster.cli.options import (
    DataRootOption,
    Filters,
    ServerOption,
    StoreOption,
    filtered,
    refuse_with_server,
    store_or_client,
)
from stn_cluster.cli.output import ReaderGoneError, say_all, warnings_said, write
from stn_cluster.cli.progress import CHECK_FAILED
from stn_cluster.errors import UserError


@filtered
def results(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Print the current result of each cell of a store."""
    from stn_cluster.report.listing import SHOWN, check_format, listing
    from stn_cluster.store import Store

    check_format(format)
    source = store_or_client(store, server)
    if not isinstance(source, Store):
        with warnings_said():
            rows = source.results(**filters)
        write(listing(rows, filters, format))
        return
    if format == "table":
        rows = source.select(filters, columns=SHOWN)
        write(listing(rows, {}, format))
    else:
        for piece in source.export(filters, format):
            write(piece.decode())
    say_all(source.outdated(lambda: source.results(columns=["key"], filters=filters)["key"]))


@filtered
def table(
    filters: Filters,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[str, typer.Option("--format", help="text, md, csv, latex or html.")] = "text",
    reference: Annotated[str, typer.Option("--reference", help="paper or none.")] = "paper",
    interval: Annotated[
        bool,
        typer.Option("--interval", help="Add intervals; mark what may equal a column's best."),
    ] = False,
    correction: Annotated[
        str | None,
        typer.Option("--correction", help="Of the marks: holm (default) or benjamini-hochberg."),
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Print the comparison table: mean error over seeds, and the paper's number."""
    from stn_cluster.report.render import render
    from stn_cluster.report.table import comparison_table, shown_keys
    from stn_cluster.store import Store

    if correction is not None and not interval:
        raise UserError("--correction: goes with --interval")
    source = store_or_client(store, server)
    chosen: dict[str, Any] = {"reference": reference, "interval": interval}
    chosen |= {"correction": correction or "holm", **filters}
    if isinstance(source, Store):
        text = render(comparison_table(source, data_root=data_root, **chosen), format)
    else:
        refuse_with_server({"data_root": data_root})
        with warnings_said():
            text = source.table(format, **chosen)
    write(text)
    if isinstance(source, Store):
        say_all(source.outdated(lambda: shown_keys(source, **filters)))


@filtered
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Store, key, label, or MODEL/TRANSFORM.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one of the same kind.")],
    filters: Filters,
    store: StoreOption = None,
    format: Annotated[str, typer.Option("--format", help="text, md or json.")] = "text",
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            "--fail-if-worse",
            metavar="POINTS",
            help="Exit with 3 if B is surely worse than A by more than this.",
        ),
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Compare two cells, two rows of the matrix or two stores on the same test images: difference
    with its interval, paired test, the images that only one of them gets, what differs in their
    specs."""
    from stn_cluster.report.comparison import compare as compare_sides
    from stn_cluster.report.comparison_text import (
        check_comparison_format,
        passed,
        render_comparison,
    )

    check_comparison_format(format)
    if fail_if_worse is not None and not (math.isfinite(fail_if_worse) and fail_if_worse >= 0):
        raise UserError(f"--fail-if-worse: points of error, 0 or more, not {fail_if_worse:g}")
    with warnings_said():
        found = compare_sides(a, b, store=store, data_root=data_root, **filters)
    # Whoever reads only the first lines, as `head` does, still gets the exit code.
    with suppress(ReaderGoneError):
        write(render_comparison(found, format, fail_if_worse))
    if fail_if_worse is not None and not passed(found, fail_if_worse):
        raise typer.Exit(CHECK_FAILED)
