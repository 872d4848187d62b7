"""What the store says became of cells: the newest success and the newest failure of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell, make_record

from stn_cluster.cluster.history import stored_ends
from stn_cluster.errors import StoreError
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.store import Store

steady = settings(derandomize=True, deadline=None)


def success(key: str, time: int, error: float = 1.5) -> StoredResult:
    return StoredResult(key, f"{key}-{time}", time, test_error=error)


def failure(key: str, time: int) -> StoredResult:
    return StoredResult(key, f"{key}-{time}", time, error="ValueError: no luck")


some_ends = st.lists(
    st.builds(
        lambda make, key, time: make(key, time),
        st.sampled_from([success, failure]),
        st.sampled_from(["k", "l"]),
        st.integers(1, 50),
    ),
    unique_by=lambda end: end.accepted_at,  # the store sees to that
    max_size=12,
)


def newest(
    ends: list[StoredResult], key: str, succeeded: bool, since: int = 0
) -> StoredResult | None:
    """By looking at all of them."""
    found = [e for e in ends if e.key == key and (e.error is None) is succeeded]
    found = [e for e in found if e.accepted_at > since]
    return max(found, key=lambda end: end.accepted_at, default=None)


@steady
@given(ends=some_ends, split=st.integers(0, 12), since=st.integers(0, 51))
def test_ends_are_found_in_whatever_order_and_portions_they_are_noted(
    ends: list[StoredResult], split: int, since: int
) -> None:
    stored = KnownResults(ends[:split])
    stored.add(ends[split:])
    stored.add(ends[:1])  # twice is as once
    for key in ("k", "l", "m"):
        assert stored.success(key) == newest(ends, key, succeeded=True)
        later = newest(ends, key, True, since) or newest(ends, key, False, since)
        assert stored.after(key, since) == later
    assert stored.watermark == max((end.accepted_at for end in ends), default=0)


def test_a_later_failure_does_not_undo_a_success() -> None:
    stored = KnownResults([success("k", 1), failure("k", 2)])
    assert stored.success("k") == success("k", 1)
    assert stored.after("k", 0) == success("k", 1)
    assert stored.after("k", 1) == failure("k", 2)
    assert stored.after("k", stored.watermark) is None


def test_a_failure_alone_is_no_success() -> None:
    stored = KnownResults([failure("k", 1)])
    assert stored.success("k") is None
    assert stored.after("k", 0) == failure("k", 1)


# --- from a real store ---


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // (time.resolution)


def test_the_ends_of_a_store_are_those_of_all_its_rows(any_store: Store) -> None:
    cells = [make_cell(seed=seed) for seed in range(3)]
    records = [
        make_record(cells[0], error=2.0),
        make_record(cells[1], error=None),
        make_record(cells[0], error=3.0),
        make_record(cells[2], error=4.0),
        make_record(cells[2], error=None),
    ]
    times = any_store.commit(records[:2]) + any_store.commit(records[2:])
    stored = stored_ends(any_store)

    def end(number: int, **fields: Any) -> StoredResult:
        row = records[number].row
        return StoredResult(row["key"], row["attempt"], microseconds(times[number]), **fields)

    failed = {"error": "ValueError: the loss is not finite"}
    keys = [cell.key for cell in cells]
    assert [stored.success(key) for key in keys] == [
        end(2, test_error=3.0),
        None,
        end(3, test_error=4.0),
    ]
    assert stored.after(keys[1], 0) == end(1, **failed)
    assert stored.after(keys[2], microseconds(times[3])) == end(4, **failed)
    assert stored.watermark == microseconds(times[-1])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback:\n  File x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("given up after these ends:\n1. died: out of memory", "1. died: out of memory"),
        ("", "unknown"),
    ],
)
def test_of_a_failures_text_the_line_that_says_why_is_kept(
    store: Store, text: str, line: str
) -> None:
    record = make_record(make_cell(), error=None)
    record.row["error"] = text
    store.commit([record])
    end = stored_ends(store).after(record.row["key"], 0)
    assert end is not None
    assert end.error == line


def test_an_empty_store_has_no_ends(any_store: Store) -> None:
    stored = stored_ends(any_store)
    assert (stored.watermark, stored.success("k"), stored.after("k", 0)) == (0, None, None)


def test_a_store_that_cannot_be_read_is_no_store_without_ends(store: Store) -> None:
    assert store.local_path is not None
    (store.local_path / "cells" / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"torn\.parquet"):
        stored_ends(store)
