"""Rows that readers get, beside a naive choice among all rows of pandas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.store import FILTERS, Store
from stn_cluster.store.parquet import encode

MODELS = ("CNN", "FCN", "ABC")
DISTORTIONS = ("RTS", "R", "P:xy", "P", "blur", "E")
RECIPES = ("fast", "smoke", "a")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

attempts = st.tuples(
    st.sampled_from(MODELS),
    st.sampled_from(DISTORTIONS),
    st.integers(0, 1),  # seed
    st.sampled_from(RECIPES),  # which the key does not determine
    st.sampled_from(["succeeded", "failed", "failed"]),
    st.integers(0, 4),  # accepted_at: later files may have earlier times, or the same
)
stores = st.lists(
    st.tuples(st.lists(attempts, max_size=6), st.sampled_from([1, 2])),  # rows, schema version
    max_size=4,
)
wanted = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(MODELS) | st.lists(st.sampled_from(MODELS), max_size=2),
        "distortion": st.lists(st.sampled_from(DISTORTIONS), max_size=3),
        "seed": st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2),
        "recipe": st.sampled_from(RECIPES) | st.none(),
        "status": st.sampled_from(["succeeded", "failed"]),
        "dataset": st.sampled_from(["digits", "mnist"]),
        "key": st.lists(
            st.sampled_from([make_cell(m, "none", "R", s).key for m in MODELS for s in (0, 1)])
        ),
    },
)


def make_store(
    folder: Path, files: list[tuple[list[tuple[Any, ...]], int]]
) -> list[dict[str, Any]]:
    """Writes a store, and gives its rows in the order of the files."""
    store = Store.open(folder, create=True)
    assert store.local_path is not None
    rows: list[dict[str, Any]] = []
    for number, (of_file, version) in enumerate(files):
        made = []
        for model, distortion, seed, recipe, status, at in of_file:
            cell = make_cell(model, "none", distortion, seed, recipe=recipe)
            # The settings have the recipe's name: without it, so that the key is the same.
            cell = cell.model_copy(update={"settings": {"iterations": 8, "batch_size": 16}})
            record = make_record(cell, error=1.0 if status == "succeeded" else None)
            made.append(
                {
                    **record.row,
                    "accepted_at": EPOCH + timedelta(seconds=at),
                    "schema_version": version,
                    "confusion": [len(rows), 300, 300] if status == "succeeded" else None,
                }
            )
            rows.append(made[-1])
        path = store.local_path / "cells" / f"{number}.parquet"
        path.write_bytes(encode("cells", made))
        if version == 1:  # before there was a confusion matrix
            pq.write_table(pq.read_table(path).drop_columns(["confusion"]), path)
            for row in made:
                row["confusion"] = None
    return rows


def naive(rows: list[dict[str, Any]], filters: dict[str, Any], latest: bool) -> list[str]:
    """Attempts of the rows that are asked for, in the table's order."""
    if latest:
        best: dict[str, tuple[Any, ...]] = {}
        for place, row in enumerate(rows):
            rank = (row["status"] == "succeeded", row["accepted_at"], place)
            best[row["key"]] = max(best.get(row["key"], rank), rank)
        rows = [rows[place] for _, _, place in sorted(best.values())]
    found = [
        row
        for row in rows
        if all(
            value is None or row[name] in (value if isinstance(value, list) else [value])
            for name, value in filters.items()
        )
    ]

    def compare(a: dict[str, Any], b: dict[str, Any]) -> int:
        for name in (
            "dataset",
            "recipe",
            "model",
            "transform",
            "distortion",
            "seed",
            "accepted_at",
        ):
            paper = {
                "model": ["FCN", "CNN", "ST-FCN", "ST-CNN"],
                "distortion": ["R", "RTS", "P", "E"],
            }.get(name, [])
            x, y = (
                (paper.index(base) if (base := str(v).partition(":")[0]) in paper else 99, v)
                for v in (a[name], b[name])
            )
            if x != y:
                return -1 if x < y else 1
        return 0

    return [row["attempt"] for row in sorted(found, key=cmp_to_key(compare))]


TWICE = [([("CNN", "R", 0, "fast", "succeeded", 0)], 2), ([("CNN", "R", 0, "a", "failed", 1)], 2)]


@settings(max_examples=100, deadline=None)
@example(files=TWICE, filters={"recipe": "a"}, latest=True, wide=True, large=True)
@example(files=TWICE, filters={"status": "failed"}, latest=True, wide=True, large=False)
@given(files=stores, filters=wanted, latest=st.booleans(), wide=st.booleans(), large=st.booleans())
def test_rows_are_those_of_a_naive_choice(
    files: list[Any],
    filters: dict[str, Any],
    latest: bool,
    wide: bool,
    large: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    rows = make_store(folder, files)
    with pytest.MonkeyPatch.context() as patch:
        if large:  # these few rows are read as if they were very many
            patch.setattr("stn_cluster.store.scan._SMALL", -1)
            patch.setattr("stn_cluster.store.scan._PART", 2)
            patch.setattr("stn_cluster.store.frames._MANY", 2)
        check_rows(folder, rows, filters, latest, wide)


def check_rows(
    folder: Path, rows: list[dict[str, Any]], filters: dict[str, Any], latest: bool, wide: bool
) -> None:
    store = Store.open(folder)
    by_attempt = {row["attempt"]: row for row in rows}
    columns = [*FILTERS, "attempt", *(["confusion", "spec"] if wide else ["n_wrong"])]
    expected = naive(rows, filters, latest)
    found = store.results(latest, columns=columns, filters=filters)
    assert found["attempt"].tolist() == expected
    assert list(found.columns) == columns
    for row in found.to_dict("records"):
        for name in set(columns) - {"n_wrong"}:
            assert row[name] == by_attempt[row["attempt"]][name]
    scanned = [a for part in store.scan(filters, latest) for a in part["attempt"].to_pylist()]
    assert scanned == [row["attempt"] for row in rows if row["attempt"] in set(expected)]
    if latest:
        pd.testing.assert_frame_equal(
            load_results(store, **filters)[columns].reset_index(drop=True), found
        )
        if expected:
            lines = json.loads(b"".join(store.export(filters, "json")))
            assert [row["attempt"] for row in lines] == expected
            csv = b"".join(store.export(filters, "csv")).decode().splitlines()
            assert len(csv) == 1 + len(expected)


@pytest.mark.parametrize("many", [1, 100])
def test_a_frame_of_rows_may_be_changed(
    many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stn_cluster.store.frames._MANY", many)
    make_store(tmp_path, [([(m, "R", 0, "fast", "succeeded", 0) for m in MODELS], 2)])
    frame = load_results(tmp_path)
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[2, name] if name != "confusion" else None
    assert frame.loc[0].drop("confusion").equals(frame.loc[2].drop("confusion"))
    assert load_results(tmp_path).loc[0, "model"] == "FCN"


def test_a_large_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stn_cluster.store.scan._PART", 3)
    monkeypatch.setattr("stn_cluster.store.files._SMALL", 0)
    rows = make_store(
        tmp_path,
        [([(m, "P", s, "fast", "succeeded", n) for n, m in enumerate(MODELS) for s in (0, 1)], 2)],
    )
    store = Store.open(tmp_path)
    found = store.results(filters={"model": ["CNN", "ABC"]})
    assert found["attempt"].tolist() == naive(rows, {"model": ["CNN", "ABC"]}, True)
    assert found["confusion"].tolist() == [
        [0, 300, 300],
        [1, 300, 300],
        [4, 300, 300],
        [5, 300, 300],
    ]
    assert [len(part) for part in store.scan({"seed": 1})] == [1, 2]


def test_a_large_file_that_is_torn_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stn_cluster.store.files._SMALL", 0)
    make_store(tmp_path, [([("CNN", "R", 0, "fast", "succeeded", 0)], 2)])
    path = tmp_path / "cells" / "0.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match=r"0\.parquet: torn, not readable as Parquet"):
        load_results(tmp_path, model="CNN")


def test_a_column_that_takes_no_statistics_has_its_version_read(tmp_path: Path) -> None:
    make_store(tmp_path, [([("CNN", "R", 0, "fast", "succeeded", 0)], 2)])
    path = tmp_path / "cells" / "0.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows, path, write_statistics=False)
    assert len(load_results(tmp_path)) == 1
    index = rows.schema.names.index("schema_version")
    newer = rows.set_column(index, "schema_version", pa.array([3], pa.int32()))
    pq.write_table(newer, path, write_statistics=False)
    with pytest.raises(Exception, match="schema version 3 is newer"):
        load_results(tmp_path)
