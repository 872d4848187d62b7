"""The report folder of a store: the table as files, for whoever opens the store by hand."""

from __future__ import annotations

from collections.abc import Collection

from stn_cluster.grid import Cell
from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store


def write_report(store: str, cells: Collection[Cell]) -> str:
    """Writes the store's whole table as report/table.md and table.csv.

    Returns:
        The table of these cells, as text.

    Raises:
        StoreError: the store cannot be written, or a service holds it.
    """
    opened = Store.open(store)
    whole = comparison_table(opened)
    with opened.lock():
        opened.write_report("table.md", render(whole, "md"))
        opened.write_report("table.csv", render(whole, "csv"))
    keys, recipes = [cell.key for cell in cells], {cell.recipe for cell in cells}
    part = comparison_table(opened, key=keys, recipe=sorted(recipes))
    return render(part, "text")
