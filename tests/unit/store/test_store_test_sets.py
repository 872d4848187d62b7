"""Test sets in the store: kept once, whatever happens meanwhile; and predictions beside labels."""

from __future__ import annotations

import pytest
from support.records import TEST_SET, make_cell, make_record

from stn_cluster import load_predictions
from stn_cluster.errors import StoreError
from stn_cluster.store import Store
from stn_cluster.store.files import Files

OTHER = TEST_SET | {"test_set": "f" * 16, "labels": [7, 7]}


def kept(store: Store) -> dict[str, list[int]]:
    """The labels of each; every one is there once."""
    rows = store.read("test_sets").to_pylist()
    found = {row["test_set"]: row["labels"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_test_set_is_written_with_the_first_result_and_once(any_store: Store) -> None:
    any_store.commit([make_record()], [TEST_SET, TEST_SET])
    any_store.commit([make_record(make_cell(seed=1))], [TEST_SET])
    reopened = Store.open(any_store.uri, create=True)
    reopened.commit([make_record(make_cell(seed=2))], [TEST_SET, OTHER])
    reopened.commit([make_record(make_cell(seed=3))])
    assert kept(reopened) == {TEST_SET["test_set"]: [0, 1, 4], OTHER["test_set"]: [7, 7]}
    [row] = (r for r in reopened.read("test_sets").to_pylist() if r["labels"] == [0, 1, 4])
    assert row == TEST_SET | {"schema_version": 2}
    names = [name for name in any_store._files.names("test_sets") if "schema" not in name]
    assert names == [f"test_sets/{row['test_set']}.parquet" for row in (TEST_SET, OTHER)]
    reopened.check()


def test_a_test_set_that_was_compacted_into_another_file_is_not_written_again(
    store: Store,
) -> None:
    store.commit([make_record()], [TEST_SET])
    assert store.local_path is not None
    folder = store.local_path / "test_sets"
    (folder / f"{TEST_SET['test_set']}.parquet").rename(folder / "2026-all.parquet")
    reopened = Store.open(store.uri, create=True)
    reopened.commit([make_record(make_cell(seed=1))], [TEST_SET])
    assert kept(reopened) == {TEST_SET["test_set"]: [0, 1, 4]}


def test_a_test_set_whose_commit_failed_is_written_when_it_is_tried_again(
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
        store.commit([record], [TEST_SET])
    assert kept(store) == {}
    monkeypatch.undo()
    store.commit([record], [TEST_SET])
    assert kept(store) == {TEST_SET["test_set"]: [0, 1, 4]}


def test_predictions_of_nothing_have_the_same_columns(store: Store) -> None:
    empty = load_predictions(store)
    store.commit([make_record(), make_record(make_cell(seed=1), error=None)], [TEST_SET])
    some = load_predictions(store)
    assert empty.empty
    assert empty.dtypes.to_dict() == some.dtypes.to_dict()
    assert list(some["true_class"]) == [0, 1, 4]
    assert list(some["predicted_class"]) == [0, 1, 9]
    assert some["confidence"].tolist() == pytest.approx([1.0, 40_000 / 65_535, 30_000 / 65_535])
    assert load_predictions(store, seed=1).empty
