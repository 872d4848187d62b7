"""Results as a stream: the rows of `load_results`, in every format, file by file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from support.records import make_cell, make_record

from stn_cluster import UserError, load_results
from stn_cluster.store import Store, as_frame, export

READERS: dict[str, Callable[[bytes], pd.DataFrame]] = {
    "json": lambda content: pd.DataFrame(json.loads(content)),
    "csv": lambda content: pd.read_csv(io.BytesIO(content)),
    "parquet": lambda content: pd.read_parquet(io.BytesIO(content)),
}


def exported(store: Store, form: str, latest: bool = True, **filters: Any) -> pd.DataFrame:
    return READERS[form](b"".join(export(store.scan(filters, latest), form)))


@pytest.fixture
def filled(any_store: Store) -> Store:
    store = Store.open(any_store.local_path, create=True) if any_store.local_path else any_store
    store.commit([make_record(make_cell("FCN", seed=seed)) for seed in range(3)])
    store.commit([make_record(make_cell("FCN", seed=1), error=None)])
    store.commit([make_record(make_cell("FCN"), 1.0), make_record(make_cell(seed=5))])
    return store


@pytest.mark.parametrize("form", READERS)
def test_the_current_row_of_each_cell_is_given_out_once(filled: Store, form: str) -> None:
    found = exported(filled, form)
    wanted = load_results(filled)
    assert list(found.columns) == list(wanted.columns)
    assert sorted(found["attempt"]) == sorted(wanted["attempt"])
    assert found.set_index("attempt")["test_error"].to_dict() == pytest.approx(
        wanted.set_index("attempt")["test_error"].to_dict(), nan_ok=True
    )


@pytest.mark.parametrize("form", READERS)
def test_rows_are_filtered_and_history_is_given_out_where_asked_for(
    filled: Store, form: str
) -> None:
    assert list(exported(filled, form, model="CNN")["seed"]) == [5]
    assert sorted(exported(filled, form, seed=[0, 1])["seed"]) == [0, 1]
    assert list(exported(filled, form, latest=False)["seed"]) == [0, 1, 2, 1, 0, 5]


@pytest.mark.parametrize("form", READERS)
def test_nothing_is_a_whole_file_too(filled: Store, form: str) -> None:
    content = b"".join(export(filled.scan({"model": "FCN", "seed": 9}), form))
    assert len(READERS[form](content)) == 0


def test_parquet_has_the_types_of_the_store(filled: Store) -> None:
    whole = pd.concat([as_frame(table) for table in filled.scan({})])
    assert whole.dtypes.to_dict() == load_results(filled).dtypes.to_dict()


def test_an_unknown_format_or_filter_is_refused(filled: Store) -> None:
    with pytest.raises(UserError, match="unknown format 'xml'"):
        export(filled.scan({}), "xml")
    with pytest.raises(UserError, match="unknown filter 'colour'"):
        filled.scan({"colour": "red"})


def test_a_stream_asks_for_the_next_file_only_when_the_last_is_given_out(filled: Store) -> None:
    asked: list[int] = []

    def tables() -> Any:
        for number, table in enumerate(filled.scan({}, latest=False)):
            asked.append(number)
            yield table

    pieces = export(tables(), "json")
    next(pieces)
    assert asked == [0]
