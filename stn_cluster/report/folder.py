"""The report folder of a store: the table as files, for people who browse the store."""

from __future__ import annotations

from collections.abc import Collection

from stn_cluster.evaluations import Evaluation
from stn_cluster.grid import Cell
from stn_cluster.report.evaluation_tables import transfer
from stn_cluster.report.render import render
from stn_cluster.report.table import cells_table, comparison_table
from stn_cluster.store import Store, is_published


def write_tables(store: Store) -> None:
    """Writes the store's whole table as report/table.md and table.csv.

    This needs no lock, even if a service holds the store: all writers write atomically and from the
    same rows.

    Raises:
        StoreError: the store cannot be read or written.
    """
    table = comparison_table(store)
    store.write_report("table.md", render(table, "md"))
    store.write_report("table.csv", render(table, "csv"))


def write_report(
    store: str, cells: Collection[Cell], evaluations: Collection[Evaluation] = ()
) -> str:
    """Writes a store's tables, unless it is published; returns the tables of these cells and
    evaluations as text.

    Raises:
        StoreError: see `write_tables`.
    """
    opened = Store.open(store)
    if cells and not is_published(store):
        write_tables(opened)
    tables = [render(cells_table(opened, cells), "text")] if cells else []
    if evaluations:
        tables.append(transfer(opened, evaluations=[one.key for one in evaluations]))
    return "\n".join(tables)
