"""Files in the store that are torn, foreign, newer or older: named, and left alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import make_record

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import CELLS, SCHEMA_VERSION, SCHEMAS, Record, Store


def cells_folder(store: Store) -> Path:
    assert store.local_path is not None
    return store.local_path / "cells"


def torn(path: Path) -> None:
    path.write_bytes(b"PAR1 and then the power went")


def empty(path: Path) -> None:
    path.touch()


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def wrong_type(path: Path) -> None:
    rewrite(path, lambda t: t.set_column(t.schema.names.index("key"), "key", pa.array([7])))


def no_column(path: Path) -> None:
    rewrite(path, lambda table: table.drop_columns(["attempt"]))


def newer(path: Path) -> None:
    rewrite(path, lambda table: with_version(table, SCHEMA_VERSION + 1))


def with_version(table: pa.Table, version: int) -> pa.Table:
    index = table.schema.names.index("schema_version")
    return table.set_column(index, "schema_version", pa.array([version], pa.int32()))


def rewrite(path: Path, change: object) -> None:
    """A copy of a good file of the same folder, changed."""
    good = next(file for file in path.parent.glob("2*.parquet"))
    pq.write_table(change(pq.read_table(good)), path)  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["cells", "curves", "predictions"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (torn, "torn"),
        (empty, "torn"),
        (foreign, "not a file of this store"),
        (wrong_type, "column key is int64, not string"),
        (no_column, "no column attempt"),
        (newer, "schema version 3 is newer than this stn-cluster's 2: upgrade"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_left_alone(
    store: Store, kind: str, spoil: object, said: str
) -> None:
    record = make_record()
    store.commit([Record(record.row, record.curve[:1], record.predictions)])
    assert store.local_path is not None
    path = store.local_path / kind / "z.parquet"
    spoil(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        store.check()
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    if kind == "cells":
        with pytest.raises(StoreError, match=r"z\.parquet"):
            load_results(store)


def test_every_truncation_of_a_good_file_is_told_from_the_whole(store: Store) -> None:
    store.commit([make_record()])
    (path,) = cells_folder(store).glob("2*.parquet")
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match="torn"):
            store.check()


def test_columns_that_we_do_not_know_are_passed_over(store: Store) -> None:
    store.commit([make_record()])
    (path,) = cells_folder(store).glob("2*.parquet")
    pq.write_table(pq.read_table(path).append_column("note", pa.array(["mine"])), path)
    assert list(load_results(store).columns) == CELLS.names


def test_a_file_of_an_older_version_has_nulls_in_columns_added_since(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([make_record()])
    monkeypatch.setattr("stn_cluster.store.parquet.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    grown = CELLS.append(pa.field("energy", pa.float64()))
    monkeypatch.setitem(SCHEMAS, "cells", grown)
    assert store.read("cells")["energy"].to_pylist() == [None]
    store.check()


def test_a_store_that_is_gone_is_not_taken_for_an_empty_one(store: Store) -> None:
    folder = store.local_path
    assert folder is not None
    assert store.results().empty
    revision = store.revision()
    folder.rename(folder.with_name("elsewhere"))
    for read in (store.results, store.revision):
        with pytest.raises(StoreError, match="folder is not there"):
            read()
    folder.mkdir()  # where a disk was mounted
    with pytest.raises(StoreError, match="folder is not there"):
        store.revision()
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert store.revision() == revision
