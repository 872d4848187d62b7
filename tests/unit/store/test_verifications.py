"""Rows of `verifications`: written beside results, read with those that they are about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from support.records import make_cell, make_record

from stn_cluster import load_results, load_verifications
from stn_cluster.errors import UserError
from stn_cluster.store import Store, Verification, add_verifications

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def verification(record: Any, hours: int = 0, **columns: Any) -> Verification:
    fields: dict[str, Any] = {
        "key": record.row["key"],
        "attempt": record.row["attempt"],
        "device": "a processor",
        "torch": "2.9",
        "n_test": 100,
        "n_differ": 0,
        "identical": True,
        "verified_at": NOON + timedelta(hours=hours),
    }
    return Verification(**fields | columns)


def test_a_cell_has_all_verifications_of_its_current_attempt(any_store: Store) -> None:
    cells = [make_cell(model) for model in ("FCN", "CNN")]
    before, fcn, cnn = (make_record(c, device="a processor") for c in (cells[0], *cells))
    any_store.commit([before])
    any_store.commit([fcn, cnn])
    assert load_verifications(any_store).empty
    results = load_results(any_store)
    add_verifications(any_store, [verification(before), verification(cnn)])
    add_verifications(
        any_store, [verification(fcn, 2, device="another", n_differ=3, identical=False)]
    )
    add_verifications(any_store, [verification(fcn, 1)])
    found = load_verifications(any_store)
    assert list(found.columns) == [
        *("key", "label", "attempt", "device", "torch", "n_test", "n_differ", "identical"),
        *("same_device", "verified_at"),
    ]
    assert found["label"].tolist() == ["FCN/none/R/seed0"] * 2 + ["CNN/none/R/seed0"]
    assert found["attempt"].tolist() == [fcn.row["attempt"]] * 2 + [cnn.row["attempt"]]
    assert found["n_differ"].tolist() == [0, 3, 0]
    assert found["identical"].tolist() == [True, False, True]
    assert found["same_device"].tolist() == [True, False, True]
    assert found["verified_at"].tolist()[0] == pd.Timestamp("2026-01-31 13:00")
    assert len(load_verifications(any_store, model="CNN")) == 1
    pd.testing.assert_frame_equal(load_results(any_store), results)
    with pytest.raises(UserError, match="filter"):
        load_verifications(any_store, colour="red")


def test_pandas_reads_the_folder_as_it_stands(store: Store) -> None:
    record = make_record()
    store.commit([record])
    add_verifications(store, [verification(record)])
    [row] = pd.read_parquet(f"{store.uri}/verifications").to_dict("records")
    assert (row["key"], row["attempt"]) == (record.row["key"], record.row["attempt"])
    assert (row["n_test"], row["n_differ"], row["schema_version"]) == (100, 0, 2)


def test_a_store_that_never_heard_of_verifications_has_none_and_takes_some(store: Store) -> None:
    record = make_record()
    store.commit([record])
    (store.local_path / "verifications" / "0-schema.parquet").unlink()
    (store.local_path / "verifications").rmdir()
    assert load_verifications(store.uri).empty
    (store.local_path / "manifest.json").write_text("{}")  # a published store takes them too
    add_verifications(Store.open(store.uri), [verification(record)])
    assert len(load_verifications(store.uri)) == 1
    assert list(load_results(store.uri)["attempt"]) == [record.row["attempt"]]


def test_no_verifications_leave_no_file(store: Store) -> None:
    before = sorted(store.local_path.rglob("*"))
    add_verifications(store, [])
    assert sorted(store.local_path.rglob("*")) == before
