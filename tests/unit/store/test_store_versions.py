"""Stores of schema version 1, those that are published here: read as they are, and added to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from support.records import PREDICTIONS, TEST_SET, make_cell, make_record

from stn_cluster import load_predictions, load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import SCHEMA_VERSION, SCHEMAS, Kind, Store

PUBLISHED = Path(__file__).parents[3] / "results" / "readings-of-p"
CELLS, IMAGES = 8, 10_000  # that it has, and of each


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A working store of version 1."""
    path = tmp_path / "old"
    shutil.copytree(PUBLISHED, path)
    (path / "manifest.json").unlink()
    assert set(pd.read_parquet(path / "cells")["schema_version"]) == {1}
    assert "test_set" not in pd.read_parquet(path / "predictions").columns
    return path


@pytest.fixture
def mixed(old: Path) -> Path:
    """The old store, with a row of this version added."""
    Store.open(old, create=True).commit([make_record()], [TEST_SET])
    return old


def test_an_old_store_is_read_without_being_changed(old: Path) -> None:
    before = contents(old)
    store = Store.open(old)
    store.check()
    assert len(load_results(store)) == CELLS
    for kind, schema in SCHEMAS.items():
        assert store.read(kind).schema.equals(schema)
    found = load_predictions(store, model="CNN")
    assert len(found) == CELLS // 2 * IMAGES
    assert found["true_class"].isna().all()
    assert found["confidence"].isna().all()
    stored = pd.read_parquet(old / "predictions").set_index("key")["predictions"]
    for key, part in found.groupby("key"):
        np.testing.assert_array_equal(part["predicted_class"], stored[key])
    assert contents(old) == before


def test_opening_it_to_write_changes_the_files_without_rows_alone(old: Path) -> None:
    before = contents(old)
    Store.open(old, create=True)
    after = contents(old)
    renewed = {"predictions/0-schema.parquet", "evaluations/0-schema.parquet"}
    assert {name for name in before if after[name] != before[name]} == renewed
    added = {"test_sets/0-schema.parquet", "verifications/0-schema.parquet"}
    assert set(after) - set(before) == added
    for kind, schema in SCHEMAS.items():
        assert pq.read_schema(old / kind / "0-schema.parquet").names == schema.names
    assert [path.name for path in (old / "tmp").iterdir()] == []
    Store.open(old, create=True)
    assert contents(old) == after


def test_a_store_that_was_opened_to_read_is_renewed_when_it_is_asked_to(old: Path) -> None:
    Store.open(old).renew()
    assert pd.read_parquet(old / "predictions").columns.tolist() == SCHEMAS["predictions"].names


def by_pandas(folder: Path) -> pa.Table:
    return pa.Table.from_pandas(pd.read_parquet(folder), preserve_index=False)


def by_pyarrow(folder: Path) -> pa.Table:
    return pyarrow.dataset.dataset(folder).to_table()


def by_duckdb(folder: Path) -> pa.Table:
    files = f"read_parquet('{folder}/*.parquet', union_by_name=true)"
    return duckdb.sql(f"SELECT * FROM {files}").to_arrow_table()


def by_polars(folder: Path) -> pa.Table:
    """As Polars with missing_columns="insert": the first file's columns, in each file's types."""
    files = sorted(folder.glob("*.parquet"))
    schema = pq.read_schema(files[0])
    tables = []
    for table in map(pq.read_table, files):
        assert set(table.schema.names) <= set(schema.names)  # else it refuses the file
        for name in table.schema.names:
            assert table.schema.field(name).type == schema.field(name).type
        there = table.schema.names
        columns = [
            table[f.name] if f.name in there else pa.nulls(len(table), f.type) for f in schema
        ]
        tables.append(pa.table(columns, schema=schema))
    return pa.concat_tables(tables)


@pytest.mark.parametrize("read", [by_pandas, by_pyarrow, by_duckdb, by_polars])
def test_every_reader_sees_all_rows_of_both_versions_and_all_columns(
    read: Callable[[Path], pa.Table], mixed: Path
) -> None:
    rows = {kind: read(mixed / kind) for kind in SCHEMAS}
    counts = {"cells": CELLS + 1, "predictions": CELLS + 1, "test_sets": 1, "evaluations": 0}
    counts["verifications"] = 0
    for kind, schema in SCHEMAS.items():
        assert rows[kind].schema.names == schema.names
        assert len(rows[kind]) == counts.get(kind, len(rows[kind]))
    versions = rows["cells"]["schema_version"].to_pylist()
    assert sorted(versions) == [1] * CELLS + [2]
    assert rows["curves"]["schema_version"].to_pylist().count(2) == 2
    new, *olds = sorted(rows["predictions"].to_pylist(), key=lambda r: -r["schema_version"])
    assert {name: listed(new[name]) for name in PREDICTIONS} == PREDICTIONS
    for row in olds:
        assert len(row["predictions"]) == IMAGES
        assert {row[name] for name in PREDICTIONS if name != "predictions"} == {None}
    assert listed(rows["test_sets"]["labels"][0].as_py()) == TEST_SET["labels"]


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | np.ndarray) else value


def test_the_example_of_the_documents_joins_predictions_with_labels(mixed: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "store.md").read_text()
    [query] = [part.split("```")[0] for part in text.split("```sql\n")[1:]]
    found = duckdb.sql(query.replace("STORE", str(mixed))).fetchall()
    assert found == [("CNN/none/R/seed0", 3, 1)]


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_the_documents_tell_of_every_column(kind: Kind) -> None:
    text = (Path(__file__).parents[3] / "docs" / "store.md").read_text()
    section = text.partition(f"\n### {kind}\n")[2].partition("\n### ")[0]
    lines = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    told = [name.strip() for line in lines[1:] for name in line[1].split(",")]
    assert sorted([*told, "schema_version"]) == sorted(SCHEMAS[kind].names)


def test_old_and_new_rows_are_one_store(mixed: Path) -> None:
    assert len(load_results(mixed)) == CELLS + 1
    found = load_predictions(mixed)
    assert found["true_class"].notna().sum() == 3
    assert len(found) == CELLS * IMAGES + 3
    Store.open(mixed).check()


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def test_a_newer_stores_columns_are_not_taken_away(old: Path) -> None:
    """It is refused, for its rows: but not before its files without rows were looked at."""
    Store.open(old, create=True)
    files = {kind: old / kind / "0-schema.parquet" for kind in SCHEMAS}
    for file in files.values():
        rewrite(file, lambda table: table.append_column("new", pa.array([], pa.string())))
    newest = max((old / "cells").glob("2*.parquet"))

    def newer(table: pa.Table) -> pa.Table:
        version = pa.array([SCHEMA_VERSION + 1] * len(table), pa.int32())
        return table.set_column(
            table.schema.names.index("schema_version"), "schema_version", version
        )

    rewrite(newest, newer)
    before = contents(old)
    store = Store.open(old, create=True)
    with pytest.raises(StoreError, match=r"version 3 is newer than this stn-cluster's 2: upgrade"):
        store.check()
    assert contents(old) == before


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_a_torn_file_without_rows_is_named_and_left(old: Path, kind: Kind) -> None:
    Store.open(old, create=True)
    torn = old / kind / "0-schema.parquet"
    torn.write_bytes(b"PAR1 and then the power went")
    before = contents(old)
    with pytest.raises(StoreError, match=r"0-schema\.parquet: torn") as caught:
        Store.open(old, create=True)
    assert str(torn) in str(caught.value)
    assert contents(old) == before


def test_rows_are_added_to_a_folder_that_has_lost_its_file_without_rows(old: Path) -> None:
    (old / "predictions" / "0-schema.parquet").unlink()
    Store.open(old, create=True).commit([make_record(make_cell(seed=1))])
    assert len(pd.read_parquet(old / "predictions", columns=["test_set"])) == CELLS + 1
