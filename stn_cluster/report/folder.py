"""The report folder of a store: the table as files, for whoever opens the store by hand."""

from __future__ import annotations

from collections.abc import Collection

from stn_cluster.grid import Cell
from stn_cluster.report.render import render
from stn_cluster.report.table import cells_table, comparison_table
from stn_cluster.store import Store, is_published


def write_tables(store: Store) -> None:
    """Writes the store's whole table as report/table.md and table.csv.

    Whoever writes them does so at once and from the same rows, so a service that holds the store
    is in nobody's way.

    Raises:
        StoreError: the store cannot be read or written.
    """
    whole = comparison_table(store)
    store.write_report("table.md", render(whole, "md"))
    store.write_report("table.csv", render(whole, "csv"))


def write_report(store: str, cells: Collection[Cell]) -> str:
    """Writes a store's tables, unless it is published; returns that of these cells, as text.

    Raises:
        StoreError: see `write_tables`.
    """
    opened = Store.open(store)
    if not is_published(store):
        write_tables(opened)
    return render(cells_table(opened, cells), "text")
