"""Files that a compacted file has replaced: whoever reads rows leaves them out."""

from __future__ import annotations

from typing import Any

import pytest
from support.compactions import put_in_place
from support.records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.errors import StoreError
from stn_cluster.store import Kind, Store
from stn_cluster.store.current import current_files, is_compacted, read_current
from stn_cluster.store.files import Files


def names(store: Store, kind: Kind = "cells") -> list[str]:
    """Names of the files of a kind that have rows, without the folder."""
    found = store._files.names(kind, ".parquet")
    return [name.partition("/")[2] for name in found if not name.endswith("0-schema.parquet")]


@pytest.fixture
def four(any_store: Store) -> Store:
    """A store of four commits, of a cell each."""
    for seed in range(4):
        any_store.commit([make_record(make_cell(seed=seed))])
    return any_store


def seeds(store: Store) -> list[int]:
    """Seeds of all rows of `cells`, in their order."""
    found: list[int] = store.read("cells", columns=["seed"])["seed"].to_pylist()
    return found


def test_rows_of_replaced_files_are_read_once_and_in_their_order(four: Store) -> None:
    before = four.revision()
    listed = names(four)
    new = put_in_place(four, listed[1:3], "1")
    assert is_compacted(new)
    assert not any(map(is_compacted, listed))
    assert current_files(four._files, "cells") == [
        "cells/0-schema.parquet",
        *(f"cells/{name}" for name in (listed[0], new, listed[3])),
    ]
    assert seeds(four) == [0, 1, 2, 3]
    assert [row["seed"] for part in four.scan({}) for row in part.to_pylist()] == [0, 1, 2, 3]
    assert len(load_results(four.uri)) == 4
    assert four.revision() != before
    for gone in listed[1:3]:
        four._files.remove(f"cells/{gone}")
        assert seeds(four) == [0, 1, 2, 3]


def test_a_compacted_file_is_replaced_like_any_other(four: Store) -> None:
    listed = names(four)
    first = put_in_place(four, listed[:2], "2")
    for name in listed[:2]:
        four._files.remove(f"cells/{name}")
    put_in_place(four, [first, listed[2]], "1")
    assert seeds(four) == [0, 1, 2, 3]
    four._files.remove(f"cells/{first}")
    assert seeds(four) == [0, 1, 2, 3]


def test_predictions_of_replaced_files_are_found_once(four: Store) -> None:
    attempts = four.read("predictions", columns=["attempt"])["attempt"].to_pylist()
    before = four.predicted_classes(attempts)
    put_in_place(four, names(four, "predictions"), "1", "predictions")
    assert four.predicted_classes(attempts) == before
    assert len(before) == 4


def test_a_file_that_is_replaced_while_it_is_read_is_looked_for_again(
    four: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = names(four)
    read = Files.read

    def swap_first(self: Files, name: str) -> bytes:
        monkeypatch.undo()
        put_in_place(four, listed, "1")
        for gone in listed:
            four._files.remove(f"cells/{gone}")
        return read(self, name)

    monkeypatch.setattr(Files, "read", swap_first)
    assert seeds(four) == [0, 1, 2, 3]


def test_a_stream_goes_on_where_files_are_replaced_meanwhile(four: Store) -> None:
    stream = four.scan({})
    found = next(stream)["seed"].to_pylist()
    listed = names(four)
    new = put_in_place(four, listed[:3], "1")
    for gone in listed[:3]:
        four._files.remove(f"cells/{gone}")
    found += next(stream)["seed"].to_pylist()
    put_in_place(four, [new, listed[3]], "2")
    for gone in (new, listed[3]):
        four._files.remove(f"cells/{gone}")
    found += [seed for part in stream for seed in part["seed"].to_pylist()]
    assert found == [0, 1, 2, 3]


def test_a_folder_that_changes_while_it_is_listed_is_listed_again(
    four: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the list came past the new file's place before it was there."""
    listed = names(four)
    dated = Files.dated
    put_in_place(four, listed[:2], "1")
    calls = []

    def half(self: Files, folder: str) -> list[tuple[str, int]]:
        calls.append(folder)
        found = dated(self, folder)
        if len(calls) == 1:
            found = [(n, t) for n, t in found if n.rpartition("/")[2] not in listed[:2]]
            return [(name, written) for name, written in found if not is_compacted(name)]
        return found

    monkeypatch.setattr(Files, "dated", half)
    assert seeds(four) == [0, 1, 2, 3]


def test_a_file_that_stays_away_is_an_error_and_not_a_loop(four: Store) -> None:
    def read(names: Any) -> None:
        four._files.read("cells/never.parquet")

    with pytest.raises(StoreError, match=r"never\.parquet: cannot be read"):
        read_current(four._files, "cells", read)


def test_a_torn_compacted_file_is_named(four: Store) -> None:
    name = put_in_place(four, names(four)[:2], "1")
    store = Store.open(four.uri)
    store._files.write(f"cells/{name}", b"PAR1 and then the power went")
    with pytest.raises(StoreError, match=rf"{name}: torn"):
        store.results()
