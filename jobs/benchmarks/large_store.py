"""A store that has grown: how long it takes to read, beside pandas and DuckDB.

    python jobs/benchmarks/large_store.py                # 1,000,000 rows in 1,000 files, then in 3
    python jobs/benchmarks/large_store.py --against PATH # also the readers of another checkout

Each reading is in a process of its own, and readers take turns. Figures are medians: seconds of the
reading without the process's start, seconds of the processor, MiB at the process's largest. pandas
gives every attempt in the files' order; the others give current rows in the table's order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from grown_store import make_store

READERS = Path(__file__).with_name("store_readers.py")
ROOT = Path(__file__).parents[2]
READINGS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "load_results, one model": ("load", {"model": "ST-CNN"}, ("ours", "pandas", "duckdb")),
    "load_results, one seed": ("load", {"seed": 7}, ("ours", "pandas", "duckdb")),
    "load_results, one recipe": ("load", {"recipe": "fast+0007"}, ("ours", "pandas", "duckdb")),
    "load_results, 1,000 keys": ("load", {"key": []}, ("ours", "pandas", "duckdb")),
    "load_results": ("load", {}, ("ours", "pandas", "duckdb")),
    "table": ("table", {}, ("ours", "command", "duckdb")),
    "results --format csv": ("csv", {}, ("command", "duckdb")),
    "results --format json": ("json", {}, ("command", "duckdb")),
    "GET /v1/results?format=csv": ("download", {}, ("ours",)),
    "GET /v1/matrix?interval=false": ("matrix", {}, ("ours",)),
}


def main(
    rows: int = 1_000_000,
    files: Annotated[list[int] | None, typer.Option(help="Files of each store.")] = None,
    times: int = 3,
    only: Annotated[str, typer.Option(help="Readings that have this in their name.")] = "",
    against: Annotated[Path | None, typer.Option(help="Another checkout.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where stores are made, and stay.")] = None,
) -> None:
    """Measures, and prints one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="large-store-") as scratch:
        found = {}
        for count in files or [1000, 3]:
            store = (folder or Path(scratch)).resolve() / f"{rows}-in-{count}"
            if not store.exists():
                make_store(store, rows, count)
            for name, reading in READINGS.items():
                if only in name:
                    found[f"{name}, {count} files"] = measure(store, reading, times, against)
    print(json.dumps(found))


def measure(
    store: Path,
    reading: tuple[str, dict[str, Any], tuple[str, ...]],
    times: int,
    against: Path | None,
) -> dict[str, dict[str, float]]:
    """Medians of each reader, which take turns."""
    task, filters, readers = reading
    if filters == {"key": []}:
        import pyarrow.dataset as ds

        keys = ds.dataset(store / "cells").head(1000, columns=["key"])["key"].to_pylist()
        filters = {"key": keys}
    runs = [(reader, reader, ROOT) for reader in readers]
    if against is not None:
        runs += [
            (f"{r} of {against.name}", r, against) for r in ("ours", "command") if r in readers
        ]
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(times):
        for name, reader, root in runs:
            options = [task, reader, str(store), json.dumps(filters)]
            done = subprocess.run(
                [sys.executable, str(READERS), *options],
                cwd=root,
                env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
                stdout=subprocess.PIPE,
                check=True,
            )
            found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(store.name, task, name, found[name][-1], file=sys.stderr, flush=True)
    return {
        name: {figure: median(one[figure] for one in each) for figure in each[0]}
        for name, each in found.items()
    }


if __name__ == "__main__":
    typer.run(main)
