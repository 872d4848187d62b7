"""The report of a store that somebody else has made: its names cannot act, wherever it is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from support.reported_stores import commit_digits, digits_cells

from stn_cluster.store import Store

ACTS = "\x1b]0;owned\x07\x1b[2J\u202eevil<img src=x onerror=alert(1)>"


def test_nothing_of_it_acts_in_files_or_on_a_terminal(store: Store, tmp_path: Path) -> None:
    commit_digits(store, digits_cells("FCN", "CNN"))
    for file in (Path(store.uri) / "cells").glob("*.parquet"):
        table = pq.read_table(file)
        for name in ("dataset", "recipe"):
            at, values = table.column_names.index(name), table[name].to_pylist()
            table = table.set_column(
                at, name, pa.array([ACTS + one for one in values], pa.string())
            )
        pq.write_table(table, file)
    command = "from stn_cluster.cli import main; main()"
    output = tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-c", command, "report", f"--store={store.uri}", f"--output={output}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = [done.stdout, done.stderr, *(p.read_text() for p in tmp_path.glob("report.*"))]
    assert len(shown) == 5
    for text in shown:
        assert [one for one in ("\x1b", "\x07", "\u202e") if one in text] == []
    assert "evil" in shown[2]
    assert "<img src=x" not in output.read_text()
