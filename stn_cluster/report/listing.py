"""Results cell by cell, as `stn-cluster results` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from stn_cluster.errors import UserError, error_line, unknown
from stn_cluster.plain_text import one_line, shortened
from stn_cluster.store import as_csv, as_json, select

FORMATS = ("table", "csv", "json")
TEXTS = ("key", "label", "dataset", "recipe", "status")
NUMBERS = {  # column: its title, format
    "test_error": ("test error %", ".2f"),
    "iterations": ("iterations", ",.0f"),
    "images_per_second": ("images/s", ",.0f"),
    "train_seconds": ("seconds", ",.1f"),
}
SHOWN = (*TEXTS, *NUMBERS, "error")  # columns that the form `table` needs
REASON_LENGTH = 120  # characters of a failure; its log has all of it
WIDTH = 10_000  # characters: no row is cut or broken


def listing(results: pd.DataFrame, filters: Mapping[str, Any], form: str = "table") -> str:
    """Rows of `load_results` that match all filters, as text that ends with a newline.

    Args:
        results: rows of `load_results`.
        filters: one value or several, by the column's name.
        form: `table` has the main columns, and the reasons of failures; `csv` and `json` (a list of
            objects) have all columns. A row is a line.

    Raises:
        UserError: an unknown format or filter, or nothing matches.
    """
    check_format(form)
    rows = select(results, filters)
    if form == "csv":
        return as_csv(rows)
    if form == "json":
        return as_json(rows) + "\n"
    return _as_table(rows) if len(rows) else "No results.\n"


def check_format(form: str) -> None:
    """Raises UserError if `listing` has no such format."""
    if form not in FORMATS:
        raise UserError(f"--format: {unknown('format', form, FORMATS)}", "format")


def _as_table(rows: pd.DataFrame) -> str:
    failed = bool((rows["status"] == "failed").any())
    table = Table(box=None, pad_edge=False, header_style="")
    for name in TEXTS:
        table.add_column(name, no_wrap=True)
    for title, _ in NUMBERS.values():
        table.add_column(title, justify="right")
    if failed:
        table.add_column("reason", no_wrap=True)
    for row in rows.to_dict("records"):
        texts = [one_line(str(row[name])) for name in TEXTS]
        numbers = [_number(row[name], spec) for name, (_, spec) in NUMBERS.items()]
        table.add_row(*texts, *numbers, *([_reason(row["error"])] if failed else []))
    console = Console(width=WIDTH, color_system=None, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(table, markup=False)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _reason(error: Any) -> str:
    return shortened(error_line(error), REASON_LENGTH) if isinstance(error, str) else ""


def _number(value: Any, spec: str) -> str:
    return "-" if pd.isna(value) else format(value, spec)
