"""The result store on real files: what a commit promises, and how a store is opened."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import CELLS, SCHEMA_VERSION, SCHEMAS, Record, Store
from stn_cluster.store.files import Files
from stn_cluster.store.record import to_files
from stn_cluster.store.schema import decode


def test_a_committed_record_is_read_back_in_all_its_parts(any_store: Store) -> None:
    record = make_record()
    any_store.commit([record])

    cells = any_store.read("cells").to_pylist()
    assert len(cells) == 1
    assert cells[0].pop("accepted_at") <= datetime.now(UTC)
    assert cells[0].pop("schema_version") == SCHEMA_VERSION
    assert cells[0] == record.row

    origin = {"key": record.row["key"], "attempt": record.row["attempt"], "schema_version": 1}
    assert any_store.read("curves").to_pylist() == [{**p, **origin} for p in record.curve]
    predictions = any_store.read("predictions").to_pylist()
    assert predictions == [{**origin, "predictions": [0, 1, 9]}]
    any_store.check()


def test_plain_pandas_reads_the_folder_with_the_columns_of_the_schema(store: Store) -> None:
    assert len(pd.read_parquet(f"{store.uri}/cells")) == 0
    store.commit([make_record(), make_record(error=None)])
    store.commit([make_record(make_cell(seed=1))])
    frame = pd.read_parquet(f"{store.uri}/cells")
    assert len(frame) == 3
    assert list(frame.columns) == CELLS.names
    assert str(frame["accepted_at"].dtype) == "datetime64[us, UTC]"


def test_a_row_with_a_misspelt_column_is_refused_and_nothing_is_written(store: Store) -> None:
    record = make_record()
    row = record.row | {"test_eror": 1.0}
    with pytest.raises(ValueError, match="test_eror"):
        store.commit([Record(row)])
    assert len(store.results()) == 0


def test_a_commit_tells_when_each_record_was_accepted(any_store: Store) -> None:
    records = [make_record(make_cell(seed=seed)) for seed in (2, 0, 1)]
    times = any_store.commit(records)
    rows = any_store.read("cells", columns=["attempt", "accepted_at"]).to_pylist()
    found = {row["attempt"]: row["accepted_at"] for row in rows}
    assert [found[record.row["attempt"]] for record in records] == times
    assert any_store.commit([]) == []
    assert any_store.read("cells").num_rows == 3


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


def test_accepted_at_increases_strictly_across_commits_and_restarts(store: Store) -> None:
    times = []
    for _ in range(3):
        times += store.commit([make_record(), make_record()])
        store = Store.open(store.uri)
    assert sorted(store.results(latest=False)["accepted_at"]) == times
    assert sorted(set(times)) == times


def test_accepted_at_increases_also_when_the_clock_was_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([make_record()])
    first = store.results()["accepted_at"].max()

    class EarlierClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("stn_cluster.store.store.datetime", EarlierClock)
    Store.open(store.uri).commit([make_record()])
    assert store.results()["accepted_at"].max() == first + timedelta(microseconds=1)


def test_a_crash_before_the_cells_are_written_shows_no_row_and_spoils_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing gets to clean up."""

    order = []
    write = Files.write

    def die_at_cells(self: Files, name: str, content: bytes) -> None:
        order.append(name.partition("/")[0])
        if name.startswith("cells/"):
            raise Killed
        write(self, name, content)

    monkeypatch.setattr(Files, "write", die_at_cells)
    lost = make_record()
    with pytest.raises(Killed):
        store.commit([lost])
    assert order == ["predictions", "curves", "cells"]
    monkeypatch.undo()

    reopened = Store.open(store.uri, create=True)
    reopened.check()
    assert len(load_results(reopened)) == 0
    again = make_record()
    reopened.commit([again])
    assert load_results(reopened)["attempt"].tolist() == [again.row["attempt"]]


def test_a_commit_that_failed_and_is_tried_again_leaves_each_row_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Files.write

    def full_disk(self: Files, name: str, content: bytes) -> None:
        if name.startswith("cells/"):
            raise StoreError(f"{name}: cannot be written: No space left on device")
        write(self, name, content)

    record = make_record()
    monkeypatch.setattr(Files, "write", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        store.commit([record])
    monkeypatch.undo()
    store.commit([record])
    assert [store.read(kind).num_rows for kind in SCHEMAS] == [1, 2, 1, 0]


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


def test_an_error_on_a_remote_store_shows_no_credentials(remote_store: Store) -> None:
    remote_store._files.write("cells/odd.parquet", b"odd")
    with pytest.raises(StoreError, match=r"mem://host/bucket/cells/odd\.parquet: torn") as caught:
        remote_store.check()
    assert "secret" not in str(caught.value)


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
        frame = pd.read_parquet(tmp_path / "store" / kind, columns=["key"])
        assert frame.empty
        assert list(pd.read_parquet(tmp_path / "store" / kind).columns) == schema.names
