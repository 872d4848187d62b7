"""The report folder of a store: the table as files, for whoever opens the store by hand."""

from __future__ import annotations

from collections.abc import Collection

from stn_cluster.grid import Cell
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store


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
    """Writes the store's tables; returns that of these cells, as text.

    Raises:
        StoreError: see `write_tables`.
    """
    opened = Store.open(store)
    write_tables(opened)
    keys, recipes = [cell.key for cell in cells], {cell.recipe for cell in cells}
    part = comparison_table(opened, key=keys, recipe=sorted(recipes))
    return render(part, "text")
