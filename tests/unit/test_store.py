"""The result store on real files: what a commit promises, and all else that is kept."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import CELLS, SCHEMA_VERSION, SCHEMAS, Record, Store
from stn_cluster.store.files import Files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def remote_store() -> Store:
    """A store on an object store: one in memory, whose folders are but parts of names."""
    filesystem = PyFileSystem(FSSpecHandler(MemoryFileSystem()))
    files = Files("mem://user:secret@host/bucket?option=1", filesystem, f"/{uuid4().hex}")
    return Store(files)


@pytest.fixture(params=["local", "remote"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "remote":
        return remote_store()
    return Store.open(tmp_path / "store", create=True)


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


def test_accepted_at_increases_strictly_across_commits_and_restarts(store: Store) -> None:
    for _ in range(3):
        store.commit([make_record(), make_record()])
        store = Store.open(store.uri)
    times = store.results(latest=False)["accepted_at"]
    assert len(times) == 6
    assert times.is_unique


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
    assert reopened.finished() == {}
    again = make_record()
    reopened.commit([again])
    assert reopened.finished() == {again.row["key"]: again.row["attempt"]}


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


def test_a_job_is_recorded_and_its_cells_are_found_again(any_store: Store) -> None:
    cells = [make_cell(seed=seed) for seed in range(2)]
    for name, time in (("b", "2025-01-01"), ("a", "2025-01-02")):
        dumped = [cell.model_dump(mode="json") for cell in cells]
        record = {"job_id": name, "submitted_at": time, "config": {}, "cells": dumped}
        any_store.write_job(name, record)
    assert [job["job_id"] for job in any_store.jobs()] == ["b", "a"]
    assert any_store.submitted() == cells


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}', '{"cells": [{"model": "CNN"}]}'])
def test_a_malformed_job_is_named(store: Store, text: str) -> None:
    assert store.local_path is not None
    (store.local_path / "jobs" / "odd.json").write_text(text)
    with pytest.raises(StoreError, match=r"jobs/odd\.json"):
        store.submitted()


def test_checkpoints_reports_and_logs_are_written_read_and_dropped(any_store: Store) -> None:
    assert any_store.newest_checkpoint("k", "state.pt") is None
    any_store.write_checkpoint("k", "one", "state.pt", b"1")
    any_store.write_checkpoint("k", "two", "state.pt", b"2")
    any_store.write_checkpoint("k", "one", "weights.pt", b"w")
    assert any_store.newest_checkpoint("k", "state.pt") == "two"
    any_store.write_checkpoint("k", "one", "state.pt", b"3")
    if any_store.local_path:  # the store in memory does not say when a file was written
        assert any_store.newest_checkpoint("k", "state.pt") == "one"
    assert any_store.read_checkpoint("k", "one", "state.pt") == b"3"
    any_store.drop_checkpoint("k", "one", "state.pt")
    any_store.drop_checkpoint("k", "one", "state.pt")
    assert any_store.read_checkpoint("k", "one", "state.pt") is None
    assert any_store.newest_checkpoint("k", "state.pt") == "two"
    assert any_store.newest_checkpoint("k", "weights.pt") == "one"

    any_store.append_log("k", "one", "first\n")
    any_store.append_log("k", "one", "second\n")
    any_store.write_report("table.md", "| a |\n")
    files = any_store._files
    assert files.read("logs/k/one.log") == b"first\nsecond\n"
    assert files.read("report/table.md") == b"| a |\n"


def test_tmp_is_empty_after_each_write_and_leftovers_in_it_are_never_read(store: Store) -> None:
    assert store.local_path is not None
    store.commit([make_record()])
    store.write_checkpoint("k", "one", "state.pt", b"1")
    assert list((store.local_path / "tmp").iterdir()) == []
    (store.local_path / "tmp" / "left-over.parquet").write_bytes(b"PAR1 and then the power went")
    reopened = Store.open(store.uri, create=True)
    reopened.check()
    assert len(reopened.results()) == 1


def test_an_error_on_a_remote_store_shows_no_credentials() -> None:
    store = remote_store()
    store._files.write("cells/odd.parquet", b"odd")
    with pytest.raises(StoreError, match=r"mem://host/bucket/cells/odd\.parquet: torn") as caught:
        store.check()
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
