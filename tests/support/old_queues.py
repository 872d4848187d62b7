"""Queues' files of former layouts, and the first one's rows with present names.

The file is as the last version of that layout left it: its cells are in every state and its
attempts have ended in every way.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from stn_cluster.queue.database import FILE

_FOLDER = Path(__file__).parents[1] / "unit" / "queue"
LAYOUT_1, LAYOUT_2, LAYOUT_3 = ((_FOLDER / f"layout_{n}.sql").read_text() for n in (1, 2, 3))
RENAMED = {
    "wants": "job_cells",
    "alone": "isolated",
    "spent": "exhausted",
    "state_attempt": "checkpoint_attempt",
    "state_step": "checkpoint_step",
    "waits": "pending",
    "dropped": "cancelled",
    "ending": "exit_reason",
    "reason": "message",
}
COUNTS = {
    "cells": {"charged": "failures", "uncharged": "requeues"},
    "attempts": {"charged": "counts"},
}
# Columns and tables that came later.
ADDED = {
    "cells": ("has_result", "evaluates", "weights_attempt", "waiting"),
    "jobs": ("told",),
}
ADDED_TABLES = ("notifications", "pruned", "targets")
Rows = dict[str, list[dict[str, Any]]]


def contents(db: sqlite3.Connection) -> Rows:
    """All rows of all tables."""
    db.row_factory = sqlite3.Row
    tables = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {
        name: sorted(
            map(dict, db.execute(f"SELECT * FROM {name}")), key=lambda r: [*r.values()][:2]
        )
        for name in sorted(row["name"] for row in tables)
    }


def without_added(rows: Rows) -> Rows:
    """Rows without what the first layout did not have; that must be empty where it is a table."""
    assert not any(rows.get(table) for table in ADDED_TABLES)
    return {
        table: [
            {name: value for name, value in row.items() if name not in ADDED.get(table, ())}
            for row in found
        ]
        for table, found in rows.items()
        if table not in ADDED_TABLES
    }


def layout(db: sqlite3.Connection) -> int:
    """Version of a file's layout."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def renamed(rows: Rows) -> Rows:
    """Converts rows of the first layout to present names."""
    return {
        RENAMED.get(table, table): [
            {COUNTS.get(table, {}).get(c, RENAMED.get(c, c)): value for c, value in row.items()}
            for row in found
        ]
        for table, found in rows.items()
    }


def layout_1() -> Rows:
    """Rows of the file of the first layout."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(LAYOUT_1)
        return contents(db)


def write_layout_1(folder: Path, script: str = LAYOUT_1) -> Path:
    """Makes a folder with a file of the first layout, or of another one."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(script)
    return folder
