"""Contract of every store, on a local disk and on an object store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow.dataset
import pytest
from support.records import PREDICTIONS, make_cell, make_record

from stn_cluster import comparison_table, load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import (
    CELLS,
    SCHEMA_VERSION,
    SCHEMAS,
    Record,
    Store,
    is_published,
    refuse_published,
)
from stn_cluster.store.files import Files


def contents(store: Store) -> dict[str, bytes]:
    """Every file of a store."""
    return {name: store._files.read(name) for name in store._files.names("")}


def below(uri: str, name: str) -> str:
    """The path or URI of something in a store."""
    place, question, options = uri.partition("?")
    return f"{place}/{name}{question}{options}"


def cells_place(store: Store) -> dict[str, Any]:
    """Arguments with which pandas and pyarrow.dataset read `cells`."""
    return {"filesystem": store._files.filesystem, "path": f"{store._files.root}/cells"}


# --- opening ---


def test_opening_makes_a_store_only_if_asked_to(any_store: Store) -> None:
    missing = below(any_store.uri, "missing")
    with pytest.raises(StoreError, match="no result store here") as caught:
        Store.open(missing)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="no result store here"):
        load_results(missing)
    Store.open(missing, create=True).check()
    assert load_results(missing).empty


def test_opening_a_store_again_changes_nothing_in_it(any_store: Store) -> None:
    any_store.commit([make_record()])
    before = contents(any_store)
    Store.open(any_store.uri)
    assert contents(Store.open(any_store.uri, create=True)) == before


def test_a_file_is_no_store(any_store: Store) -> None:
    any_store._files.write("report/table.md", b"mine")
    file = below(any_store.uri, "report/table.md")
    for create in (True, False):
        with pytest.raises(StoreError, match="is a file; a store is a folder"):
            Store.open(file, create)


def test_nothing_that_people_see_has_credentials_or_options_in_it(any_store: Store) -> None:
    any_store._files.write("cells/odd.parquet", b"odd")
    with pytest.raises(StoreError, match=r"/cells/odd\.parquet: torn") as caught:
        any_store.check()
    for text in (str(caught.value), repr(any_store)):
        assert not any(part in text for part in ("swordfish", "someone", "?", "endpoint"))


def test_a_published_store_is_read_and_nobody_opens_it_to_write(any_store: Store) -> None:
    any_store.commit([make_record()])
    assert not is_published(any_store.uri)
    any_store._files.write("manifest.json", b"{}")
    assert is_published(any_store.uri)
    before = contents(any_store)
    assert len(load_results(any_store.uri)) == 1
    with pytest.raises(StoreError, match="is a published store") as caught:
        Store.open(any_store.uri, create=True)
    assert "swordfish" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(any_store) == before
    missing = below(any_store.uri, "missing")
    assert not is_published(missing)
    refuse_published(missing)


# --- results ---


def test_a_committed_record_is_read_back_in_all_its_parts(any_store: Store) -> None:
    record = make_record()
    any_store.commit([record])

    cells = any_store.read("cells").to_pylist()
    assert len(cells) == 1
    assert cells[0].pop("accepted_at") <= datetime.now(UTC)
    assert cells[0].pop("schema_version") == SCHEMA_VERSION
    assert cells[0] == record.row

    origin = {"key": record.row["key"], "attempt": record.row["attempt"], "schema_version": 2}
    assert any_store.read("curves").to_pylist() == [{**p, **origin} for p in record.curve]
    predictions = any_store.read("predictions").to_pylist()
    assert predictions == [{**origin, **PREDICTIONS}]
    any_store.check()


def test_plain_pandas_reads_the_folder_with_the_columns_of_the_schema(any_store: Store) -> None:
    assert len(pd.read_parquet(**cells_place(any_store))) == 0
    any_store.commit([make_record(), make_record(error=None)])
    any_store.commit([make_record(make_cell(seed=1))])
    frame = pd.read_parquet(**cells_place(any_store))
    assert len(frame) == 3
    assert list(frame.columns) == CELLS.names
    assert str(frame["accepted_at"].dtype) == "datetime64[us, UTC]"


def test_plain_pyarrow_reads_every_folder_as_it_stands(any_store: Store) -> None:
    any_store.commit([make_record()])
    files = any_store._files
    for kind, rows in (("cells", 1), ("curves", 2), ("predictions", 1), ("test_sets", 0)):
        found = pyarrow.dataset.dataset(f"{files.root}/{kind}", filesystem=files.filesystem)
        assert found.schema.names == SCHEMAS[kind].names
        assert found.count_rows() == rows


def test_results_and_their_table_are_read_by_the_stores_name_alone(any_store: Store) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    any_store.commit([make_record(cell, error=1.0) for cell in cells])
    newest = make_record(cells[1], error=4.0)
    any_store.commit([newest, make_record(cells[0], error=None)])
    found = load_results(any_store.uri, model="CNN", seed=[0, 1])
    assert found["test_error"].tolist() == [1.0, 4.0]
    assert found["attempt"].tolist()[1] == newest.row["attempt"]
    assert len(any_store.results(latest=False)) == 5
    table = comparison_table(any_store.uri)
    assert table["test_error_mean"].tolist() == [2.0]
    assert table["n_seeds"].tolist() == [3]


def test_committed_files_never_change(any_store: Store) -> None:
    any_store.commit([make_record()])
    before = contents(any_store)
    any_store.commit([make_record(), make_record(error=None)])
    any_store.logs.append("k", "one", "text\n")
    any_store.sweep()
    after = contents(any_store)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 4  # predictions, curves, cells and the log


def test_a_row_with_a_misspelt_column_is_refused_and_nothing_is_written(any_store: Store) -> None:
    record = make_record()
    row = record.row | {"test_eror": 1.0}
    with pytest.raises(ValueError, match="test_eror"):
        any_store.commit([Record(row)])
    assert len(any_store.results()) == 0


def test_a_commit_tells_when_each_record_was_accepted(any_store: Store) -> None:
    records = [make_record(make_cell(seed=seed)) for seed in (2, 0, 1)]
    times = any_store.commit(records)
    rows = any_store.read("cells", columns=["attempt", "accepted_at"]).to_pylist()
    found = {row["attempt"]: row["accepted_at"] for row in rows}
    assert [found[record.row["attempt"]] for record in records] == times
    assert any_store.commit([]) == []
    assert any_store.read("cells").num_rows == 3


def test_accepted_at_increases_strictly_across_commits_and_restarts(any_store: Store) -> None:
    times = []
    for _ in range(3):
        times += any_store.commit([make_record(), make_record()])
        any_store = Store.open(any_store.uri)
    found = any_store.results(latest=False)["accepted_at"].dt.tz_localize("UTC")
    assert sorted(found) == times
    assert sorted(set(times)) == times


def test_accepted_at_increases_also_when_the_clock_was_set_back(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_store.commit([make_record()])
    first = any_store.results()["accepted_at"].max()

    class EarlierClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("stn_cluster.store.commits.datetime", EarlierClock)
    Store.open(any_store.uri).commit([make_record()])
    assert any_store.results()["accepted_at"].max() == first + timedelta(microseconds=1)


def test_a_crash_before_the_cells_are_written_shows_no_row_and_spoils_nothing(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
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
        any_store.commit([lost])
    assert order == ["predictions", "curves", "cells"]
    monkeypatch.undo()

    reopened = Store.open(any_store.uri, create=True)
    reopened.check()
    assert len(load_results(reopened)) == 0
    again = make_record()
    reopened.commit([again])
    assert load_results(reopened)["attempt"].tolist() == [again.row["attempt"]]


def test_a_commit_that_failed_and_is_tried_again_leaves_each_row_once(
    any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Files.write

    def full_disk(self: Files, name: str, content: bytes) -> None:
        if name.startswith("cells/"):
            raise StoreError(f"{name}: cannot be written: No space left on device")
        write(self, name, content)

    record = make_record()
    monkeypatch.setattr(Files, "write", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        any_store.commit([record])
    monkeypatch.undo()
    any_store.commit([record])
    assert [any_store.read(kind).num_rows for kind in SCHEMAS] == [1, 2, 1, 0, 0, 0]


# --- jobs, checkpoints, logs, reports ---


def test_a_job_is_recorded_and_its_cells_are_found_again(any_store: Store) -> None:
    cells = [make_cell(seed=seed) for seed in range(2)]
    for name, when in (("b", "2025-01-01"), ("a", "2025-01-02")):
        dumped = [cell.model_dump(mode="json") for cell in cells]
        record = {"job_id": name, "submitted_at": when, "config": {}, "cells": dumped}
        any_store.write_job(name, record)
    assert [job["job_id"] for job in any_store.jobs()] == ["b", "a"]
    assert any_store.submitted() == cells


def test_a_cells_checkpoints_are_listed_read_and_dropped(any_store: Store) -> None:
    assert any_store.checkpoints.of("k") == []
    any_store.checkpoints.write("k", "one", "state-3.pt", b"1")
    any_store.checkpoints.write("k", "two", "state-3.pt", b"2")
    any_store.checkpoints.write("k", "one", "weights.pt", b"w")
    any_store.checkpoints.write("kk", "three", "weights.pt", b"another cell's")
    assert any_store.checkpoints.of("k") == [
        ("one", "state-3.pt"),
        ("one", "weights.pt"),
        ("two", "state-3.pt"),
    ]
    any_store.checkpoints.write("k", "one", "state-3.pt", b"3")
    assert any_store.checkpoints.read("k", "one", "state-3.pt") == b"3"
    for _ in range(2):  # dropping what is not there is no error
        any_store.checkpoints.drop("k", "one", "state-3.pt")
        assert any_store.checkpoints.read("k", "one", "state-3.pt") is None
    assert any_store.checkpoints.of("k") == [("one", "weights.pt"), ("two", "state-3.pt")]


def test_a_log_grows_and_is_read_back(any_store: Store) -> None:
    assert any_store.logs.read("k", "one") is None
    any_store.logs.append("k", "one", "first: ü\n")
    any_store.logs.append("k", "one", "second\n")
    any_store.logs.append("k", "two", "another\n")
    assert any_store.logs.read("k", "one") == "first: ü\nsecond\n"
    any_store._files.append("logs/k/one.log", b"\xff torn")
    assert str(any_store.logs.read("k", "one")).endswith("second\n\ufffd torn")


def test_a_report_is_written_under_its_name(any_store: Store) -> None:
    any_store.write_report("table.md", "| a |\n")
    assert any_store._files.read("report/table.md") == b"| a |\n"


def test_sweeping_an_unused_store_leaves_all_of_it(any_store: Store) -> None:
    any_store.commit([make_record()])
    any_store._files.write("tmp/young", b"half")
    before = contents(any_store)
    any_store.sweep()
    assert contents(any_store) == before


def test_all_checkpoints_of_all_cells_are_listed(any_store: Store) -> None:
    places = [("k", "one", "state-3.pt"), ("k", "two", "weights.pt"), ("l", "one", "weights.pt")]
    assert any_store.checkpoints.all() == []
    for place in places:
        any_store.checkpoints.write(*place, b"1")
    assert any_store.checkpoints.all() == places
    any_store.checkpoints.drop(*places[0])
    assert any_store.checkpoints.all() == places[1:]


@pytest.mark.parametrize("size", [0, 1, 12_000_000])  # an object store takes the last in parts
def test_a_checkpoint_of_any_size_is_read_as_it_was_written(any_store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    any_store.checkpoints.write("k", "one", "weights.pt", data)
    assert any_store.checkpoints.read("k", "one", "weights.pt") == data
