"""The result store on real files: what a commit promises, and how a store is opened."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from support.records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import SCHEMAS, Store
from stn_cluster.store.parquet import decode
from stn_cluster.store.record import to_files


def test_the_rows_of_a_commit_have_the_times_that_they_are_given() -> None:
    records = [make_record(), make_record(error=None)]
    times = [datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)]
    files = to_files(records, times)
    assert [name.partition("/")[0] for name in files] == ["predictions", "curves", "cells"]
    (content,) = (content for name, content in files.items() if name.startswith("cells/2026"))
    rows = decode("cells", content, "here").to_pylist()
    assert [row["accepted_at"] for row in rows] == times
    with pytest.raises(ValueError, match="zip"):
        to_files(records, times[:1])


def test_a_reader_sees_only_whole_commits_while_a_writer_commits(store: Store) -> None:
    def write() -> None:
        for number in range(40):
            store.commit([make_record(make_cell(seed=3 * number + i)) for i in range(3)])

    writer = threading.Thread(target=write)
    writer.start()
    seen = [0]
    while writer.is_alive() or seen[-1] < 120:
        rows = load_results(store.uri)
        plain = len(pd.read_parquet(f"{store.uri}/cells"))
        predictions = store.read("predictions", columns=["attempt"])["attempt"].to_pylist()
        assert set(rows["attempt"]) <= set(predictions)
        assert len(rows) % 3 == 0
        assert plain >= len(rows) >= seen[-1]
        seen.append(len(rows))
    writer.join()
    assert seen[-1] == 120
    assert len(set(seen)) > 2  # it did read in between


def test_opening_says_what_is_wrong_and_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no result store here"):
        load_results(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    file = tmp_path / "file"
    file.write_text("mine")
    for create in (True, False):
        with pytest.raises(StoreError, match="is a file"):
            Store.open(file, create)
    for place in (file / "below", Path("/proc/nowhere/store")):
        with pytest.raises(StoreError, match=r"cannot be made: .+") as caught:
            Store.open(place, create=True)
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="s3x://bucket/x"):
        Store.open("s3x://bucket/x")
    with pytest.raises(StoreError, match="empty"):
        Store.open("")


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open("results/mine", create=True)
    assert store.uri == str(tmp_path / "results" / "mine")
    assert store.local_path == tmp_path / "results" / "mine"
    assert Store.open(f"file://{store.uri}").local_path == store.local_path
    job = {"job_id": "j", "cells": []}
    store.write_job("j", job)
    assert json.loads((tmp_path / "results/mine/jobs/j.json").read_text()) == job


def test_readers_of_a_store_without_results_find_its_columns(tmp_path: Path) -> None:
    Store.open(tmp_path / "store", create=True)
    for kind, schema in SCHEMAS.items():
        frame = pd.read_parquet(tmp_path / "store" / kind, columns=schema.names[:1])
        assert frame.empty
        assert list(pd.read_parquet(tmp_path / "store" / kind).columns) == schema.names
