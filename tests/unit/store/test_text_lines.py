"""Lines of CSV and JSON that are made column by column, beside those of a frame."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stn_cluster.store import CELLS, as_csv, as_frame, as_json, export
from stn_cluster.store.shortest import shortest, shortest_of

odd_texts = st.sampled_from(
    [
        *(
            "",
            "=1+1",
            "-",
            "@x",
            "+",
            "\uff1d1",
            'a "quoted", text',
            "a,b",
            "\\",
            '\\"',
            "é",
            "\u202e",
        ),
        *("a\nb\r\n\tc", "\x00\x1b[31mred\x1b[0m", "\x7f\x85\u2028", " ", "plain", "{}", "'", "𝄞"),
    ]
)
texts = st.none() | odd_texts | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.one_of(
    st.none(),
    st.floats(),
    st.integers(0, 10_000).map(lambda wrong: 100 * wrong / 10_000),
    st.integers(0, 3600).map(lambda wrong: 1 - wrong / 3600),
    st.sampled_from([0.0, -0.0, 3.2199999999999998, 1e15, 1e16, 1e-5, 5e-324, 1e22, 0.1 + 0.2]),
)
times = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): texts,
    pa.float64(): numbers,
    pa.int64(): st.none() | st.integers(-(2**53), 2**53),
    pa.int32(): st.integers(1, 2),
    pa.list_(pa.int32()): st.none() | st.lists(st.integers(0, 2**31 - 1), max_size=5),
    pa.timestamp("us", tz="UTC"): times,
}
ALWAYS = {"key", "seed"}  # pandas has no place for a missing integer in others than these


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    size = draw(st.integers(0, 6))
    columns = {
        field.name: draw(st.lists(VALUES[field.type], min_size=size, max_size=size))
        for field in CELLS
    }
    columns["seed"] = [seed or 0 for seed in columns["seed"]]
    table = pa.table(columns, schema=CELLS)
    begin = draw(st.integers(0, size))
    return table.slice(begin)  # whose buffers begin before it


@settings(max_examples=100, deadline=None)
@given(tables())
def test_lines_of_columns_are_those_of_frames(table: pa.Table) -> None:
    frame = as_frame(table)
    parts = [table.slice(0, 2), table.slice(2, 0), table.slice(2)]
    assert b"".join(export(iter(parts), "csv")).decode() == as_csv(frame)
    assert b"".join(export(iter(parts), "json")).decode() == as_json(frame) + "\n"


@settings(max_examples=30, deadline=None)
@given(tables())
def test_a_list_of_json_has_the_values_of_the_rows(table: pa.Table) -> None:
    found = json.loads(b"".join(export(iter([table]), "json")))
    assert [row["n_wrong"] for row in found] == table["n_wrong"].to_pylist()
    assert [row["spec"] for row in found] == table["spec"].to_pylist()
    assert [row["confusion"] for row in found] == table["confusion"].to_pylist()


@given(st.lists(st.floats() | st.decimals(-(10**6), 10**6, places=7).map(float), max_size=20))
@example(
    [9.99999999999999999e2, 999999999999.5, 1e11, 99999999999.99999, 3.2199999999999998, 1e300]
)
def test_the_shortest_of_many_numbers_are_those_of_each(values: list[float]) -> None:
    found = shortest_of(np.array(values, float))
    wanted = [shortest(value) if math.isfinite(value) else value for value in values]
    np.testing.assert_array_equal(found, wanted)
    assert np.array_equal(np.signbit(found), np.signbit(np.array(wanted, float)))
