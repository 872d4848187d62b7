"""The report folder of a store: the table as files, for whoever opens the store by hand."""

from __future__ import annotations

from collections.abc import Collection

from stn_cluster.report.render import render
from stn_cluster.report.table import comparison_table
from stn_cluster.store import Store


def write_report(store: str, keys: Collection[str]) -> str:
    """Writes the store's whole table as report/table.md and table.csv.

    Returns:
        The table of the cells with these keys, as text.
    """
    opened = Store.open(store)
    whole = comparison_table(opened)
    opened.write_report("table.md", render(whole, "md"))
    opened.write_report("table.csv", render(whole, "csv"))
    return render(comparison_table(opened, key=list(keys)), "text")
