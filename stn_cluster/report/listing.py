"""Results cell by cell, as `stn-cluster results` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from stn_cluster.errors import UserError, unknown
from stn_cluster.store import json_records, select

FORMATS = ("table", "csv", "json")


def listing(results: pd.DataFrame, filters: Mapping[str, Any], form: str = "table") -> str:
    """Rows of `load_results` that match all filters, as text that ends with a newline.

    Args:
        results: rows of `load_results`.
        filters: one value or several, by the column's name.
        form: `table` has the main columns; `csv` and `json` (a list of objects) have all.

    Raises:
        UserError: an unknown format or filter, or nothing matches.
    """
    check_format(form)
    rows = select(results, filters)
    if form == "csv":
        return rows.to_csv(index=False)
    if form == "json":
        return json_records(rows, indent=2) + "\n"
    return _as_table(rows)


def check_format(form: str) -> None:
    """Raises UserError if `listing` has no such format."""
    if form not in FORMATS:
        raise UserError(f"--format: {unknown('format', form, FORMATS)}", "format")


def _as_table(rows: pd.DataFrame) -> str:
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("key", "label", "dataset", "recipe", "status"):
        table.add_column(name)
    for name in ("test error %", "iterations", "images/s", "seconds"):
        table.add_column(name, justify="right")
    texts = ["key", "label", "dataset", "recipe", "status"]
    numbers = {"test_error": ".2f", "iterations": ",.0f", "images_per_second": ",.0f"}
    numbers["train_seconds"] = ",.1f"
    for row in rows.to_dict("records"):
        values = [str(row[name]) for name in texts]
        table.add_row(*values, *(_number(row[name], spec) for name, spec in numbers.items()))
    console = Console(width=10_000, color_system=None, highlight=False)  # never cropped
    with console.capture() as capture:
        console.print(table, markup=False)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _number(value: Any, spec: str) -> str:
    return "-" if pd.isna(value) else format(value, spec)
