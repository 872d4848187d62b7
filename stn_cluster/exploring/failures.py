"""Failed cells of a store, grouped by their error."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from stn_cluster.errors import error_line
from stn_cluster.plain_text import plain_lines
from stn_cluster.store import Store

MOST_CELLS = 100  # of a group that are listed; `count` counts them all
MOST_TEXT = 100_000  # characters of a traceback
# What differs between two failures of one kind: addresses, numbers, temporary names.
_OWN = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|\d+(\.\d+)?")
_NAMES = ("key", "label", "dataset", "recipe", "attempt", "job_id")


def failures(store: Store, keys: frozenset[str] | None = None, **filters: Any) -> dict[str, Any]:
    """Failed cells, those with the same error together, the largest group first.

    Errors that differ in numbers and addresses alone are the same.

    Args:
        store: the store.
        keys: only these cells; None: all.
        filters: see `load_results`.

    Returns:
        total, and groups: error (the line of the newest), count, text (its traceback), cells, jobs.
    """
    rows = store.results(columns=[*_NAMES, "status", "error", "accepted_at"], filters=filters)
    rows = rows[rows["status"] == "failed"].sort_values("accepted_at", kind="stable")
    if keys is not None:
        rows = rows[rows["key"].isin(keys)]
    lines = [error_line(str(error or "")) for error in rows["error"]]
    rows = rows.assign(line=lines, kind=[_OWN.sub("#", line) for line in lines])
    groups = [_group(part) for _, part in rows.groupby("kind", sort=False)]
    return {
        "total": len(rows),
        "groups": sorted(groups, key=lambda group: -int(group["count"])),
    }


def _group(part: pd.DataFrame) -> dict[str, Any]:
    newest = part.iloc[-1]
    text = plain_lines(str(newest["error"] or ""))
    return {
        "error": str(newest["line"]),
        "count": len(part),
        "text": text[-MOST_TEXT:],
        "cells": part[list(_NAMES)].head(MOST_CELLS).to_dict("records"),
        "jobs": part["job_id"].dropna().unique().tolist(),
    }
