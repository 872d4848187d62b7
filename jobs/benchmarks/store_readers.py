"""One reading of a large store, in a process of its own: prints its seconds, memory and rows.

python store_readers.py TASK READER CELLS OPTIONS      # see `large_store.py`, which calls it
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import harness  # noqa: F401

# Of every key, the newest succeeded row or else the newest failed one.
CURRENT = """
    SELECT * FROM read_parquet('{store}/cells/*.parquet', union_by_name=true)
    QUALIFY row_number() OVER (
        PARTITION BY key ORDER BY status = 'succeeded' DESC, accepted_at DESC) = 1
"""
ORDER = "ORDER BY dataset, recipe, model, transform, distortion, seed, accepted_at"
TABLE = """
    WITH current AS ({current}), entries AS (
        SELECT * FROM current QUALIFY row_number() OVER (
            PARTITION BY dataset, recipe, model, transform, distortion, seed
            ORDER BY accepted_at DESC) = 1)
    SELECT dataset, recipe, model, transform, distortion, count(*) AS n_seeds,
        avg(test_error) AS test_error_mean, stddev_samp(test_error) AS test_error_std
    FROM entries WHERE status = 'succeeded' GROUP BY ALL
    ORDER BY dataset, recipe, model, transform, distortion
"""


def load_ours(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`load_results`."""
    from stn_cluster.store import load_results

    return lambda: len(load_results(store, **filters))


def load_pandas(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`pandas.read_parquet` with filters: every attempt, in the files' order."""
    import pandas as pd

    chosen = [(name, "in", _listed(values)) for name, values in filters.items()] or None
    return lambda: len(pd.read_parquet(f"{store}/cells", filters=chosen))


def load_duckdb(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """A query of current rows, as a DataFrame."""
    import duckdb

    conditions = [
        f"{name} IN ({', '.join(map(repr, _listed(values)))})" for name, values in filters.items()
    ]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT * FROM ({CURRENT.format(store=store)}) {where} {ORDER}"
    return lambda: len(duckdb.sql(query).df())


def table_ours(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`comparison_table`."""
    from stn_cluster import comparison_table
    from stn_cluster.report import render  # noqa: F401

    return lambda: len(comparison_table(store, **filters))


def table_command(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`stn-cluster table`."""
    return _command("table", "--store", store)


def table_duckdb(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """A query of the table's numbers."""
    import duckdb

    return lambda: len(duckdb.sql(TABLE.format(current=CURRENT.format(store=store))).df())


def csv_command(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`stn-cluster results --format csv`, into a file."""
    return _command("results", "--format", "csv", "--store", store)


def json_command(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """`stn-cluster results --format json`, into a file."""
    return _command("results", "--format", "json", "--store", store)


def csv_duckdb(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """A copy of current rows to a file, in order."""
    return _copied(store, "csv")


def json_duckdb(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """A copy of current rows to a file, in order."""
    return _copied(store, "json")


def download_ours(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """The rows that the server streams as CSV, in the order of acceptance, into a file."""
    from stn_cluster.store import Store, export

    def call() -> int:
        with Path(store, "tmp", "download.csv").open("wb") as file:
            return sum(file.write(piece) for piece in export(Store.open(store).scan({}), "csv"))

    return call


def matrix_ours(store: str, filters: dict[str, Any]) -> Callable[[], int]:
    """The server's answer to `/v1/matrix`, without intervals."""
    from stn_cluster.server.matrix_routes import MatrixQuery, matrix
    from stn_cluster.server.store_backend import StoreBackend
    from stn_cluster.store import Store

    backend = StoreBackend(Store.open(store))
    return lambda: len(matrix(MatrixQuery(interval=False), backend, None).body)


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _command(*arguments: str) -> Callable[[], int]:
    from stn_cluster.cli import main

    def call() -> int:
        sys.argv = ["stn-cluster", *arguments]
        kept = os.dup(1)
        with Path(arguments[-1], "tmp", "printed").open("wb") as file:
            os.dup2(file.fileno(), 1)
        with suppress(SystemExit):
            main()
        sys.stdout.flush()
        os.dup2(kept, 1)
        return Path(arguments[-1], "tmp", "printed").stat().st_size

    return call


def _copied(store: str, form: str) -> Callable[[], int]:
    import duckdb

    path = Path(store, "tmp", f"copied.{form}")
    query = f"COPY ({CURRENT.format(store=store)} {ORDER}) TO '{path}' (FORMAT {form})"

    def call() -> int:
        duckdb.sql(f"SET temp_directory = '{store}/tmp'")
        duckdb.sql(query)
        return path.stat().st_size

    return call


def _peak_mib() -> float:
    """Largest resident memory of this process so far."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    task, reader, place, options = sys.argv[1:]
    reading = globals()[f"{task}_{reader}"](place, json.loads(options))
    began, cpu = time.perf_counter(), time.process_time()
    size = reading()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    found = {"seconds": round(seconds, 3), "cpu": round(cpu, 3), "peak_mib": _peak_mib()}
    print(json.dumps(found | {"size": size}))
