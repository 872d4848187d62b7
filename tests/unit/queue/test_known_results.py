"""Known results of the store: the newest success and the newest failure of each cell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell, make_record

from stn_cluster.cluster.rows import stored_results
from stn_cluster.errors import StoreError
from stn_cluster.queue.known_results import KnownResults, StoredResult
from stn_cluster.store import Store

steady = settings(derandomize=True, deadline=None)


def success(key: str, time: int) -> StoredResult:
    return StoredResult(key, f"{key}-{time}", time, test_error=1.5)


def untested(key: str, time: int) -> StoredResult:
    return StoredResult(key, f"{key}-{time}", time)


def failure(key: str, time: int) -> StoredResult:
    return StoredResult(key, f"{key}-{time}", time, error="ValueError: no luck")


some_results = st.lists(
    st.builds(
        lambda make, key, time: make(key, time),
        st.sampled_from([success, untested, failure]),
        st.sampled_from(["k", "l"]),
        st.integers(1, 50),
    ),
    unique_by=lambda result: result.accepted_at,  # the store sees to that
    max_size=12,
)


def newest(
    results: list[StoredResult], key: str, succeeded: bool, since: int = 0
) -> StoredResult | None:
    """The newest one by looking at all of them."""
    found = [r for r in results if r.key == key and (r.error is None) is succeeded]
    found = [r for r in found if r.accepted_at > since]
    return max(found, key=lambda result: result.accepted_at, default=None)


@steady
@given(results=some_results, split=st.integers(0, 12), since=st.integers(0, 51))
def test_the_newest_results_are_found_in_whatever_order_and_portions_they_were_added(
    results: list[StoredResult], split: int, since: int
) -> None:
    known = KnownResults(results[:split])
    known.add(results[split:])
    known.add(results[:1])  # twice is as once
    for key in ("k", "l", "m"):
        assert known.success(key) == newest(results, key, succeeded=True)
        later = newest(results, key, True, since) or newest(results, key, False, since)
        assert known.after(key, since) == later
    assert known.watermark == max((result.accepted_at for result in results), default=0)


@pytest.mark.parametrize("succeed", [success, untested])
def test_a_later_failure_does_not_undo_a_success(succeed: Any) -> None:
    known = KnownResults([succeed("k", 1), failure("k", 2)])
    assert known.success("k") == succeed("k", 1)
    assert known.after("k", 0) == succeed("k", 1)
    assert known.after("k", 1) == failure("k", 2)
    assert known.after("k", known.watermark) is None


def test_a_failure_alone_is_no_success() -> None:
    known = KnownResults([failure("k", 1)])
    assert known.success("k") is None
    assert known.after("k", 0) == failure("k", 1)


# --- from a real store ---


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // (time.resolution)


def test_the_known_results_of_a_store_are_those_of_all_its_rows(any_store: Store) -> None:
    cells = [make_cell(seed=seed) for seed in range(4)]
    records = [
        make_record(cells[0], error=2.0),
        make_record(cells[1], error=None),
        make_record(cells[0], error=3.0),
        make_record(cells[2], error=4.0),
        make_record(cells[2], error=None),
        make_record(cells[3], test_error=None, test_accuracy=None, n_test=None, n_wrong=None),
    ]
    times = any_store.commit(records[:2]) + any_store.commit(records[2:])
    known = stored_results(any_store)

    def result(number: int, **fields: Any) -> StoredResult:
        row = records[number].row
        return StoredResult(row["key"], row["attempt"], microseconds(times[number]), **fields)

    failed = {"error": "ValueError: the loss is not finite"}
    keys = [cell.key for cell in cells]
    assert [known.success(key) for key in keys] == [
        result(2, test_error=3.0),
        None,
        result(3, test_error=4.0),
        result(5, test_error=None),
    ]
    assert known.after(keys[1], 0) == result(1, **failed)
    assert known.after(keys[2], microseconds(times[3])) == result(4, **failed)
    assert known.watermark == microseconds(times[-1])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback:\n  File x\nKeyError: 'a'\n", "KeyError: 'a'"),
        ("given up after these ends:\n1. died: out of memory", "1. died: out of memory"),
        ("", "unknown"),
    ],
)
def test_the_line_that_says_why_is_kept_of_a_failures_text(
    store: Store, text: str, line: str
) -> None:
    record = make_record(make_cell(), error=None)
    record.row["error"] = text
    store.commit([record])
    result = stored_results(store).after(record.row["key"], 0)
    assert result is not None
    assert result.error == line


def test_an_empty_store_has_no_results(any_store: Store) -> None:
    known = stored_results(any_store)
    assert (known.watermark, known.success("k"), known.after("k", 0)) == (0, None, None)


def test_a_store_that_cannot_be_read_is_an_error_and_not_an_empty_one(store: Store) -> None:
    assert store.local_path is not None
    (store.local_path / "cells" / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"torn\.parquet"):
        stored_results(store)
