"""Results for people and programs: a row a line, numbers as short as they are exact, plain text."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.records import make_cell, make_record

from stn_cluster import load_results
from stn_cluster.report.listing import listing
from stn_cluster.report.render import FORMATS, render
from stn_cluster.report.table import comparison_table
from stn_cluster.store import CELLS, Store, export

EVIL = "=\x1b[31mA1\t|`<b>\u202e\x00"
MANY = list(range(43 * 43))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def filled(store: Store, **columns: Any) -> pd.DataFrame:
    store.commit([make_record(error=100 * (322 / 10_000), **columns)])
    return load_results(store)


# --- lists, numbers, times ---


def test_a_row_of_csv_is_a_line_with_the_whole_confusion_matrix_as_json(store: Store) -> None:
    lines = listing(filled(store, confusion=MANY), {}, "csv").splitlines()
    assert len(lines) == 2
    [row] = read_csv("\n".join(lines))
    assert json.loads(row["confusion"]) == MANY


def test_numbers_are_as_short_as_they_are_exact(store: Store) -> None:
    loss = 0.1 + np.pi
    rows = filled(store, train_loss=loss, test_accuracy=1 - 0.0241)
    assert rows.at[0, "test_error"] == 3.2199999999999998
    for form in ("csv", "json"):
        text = listing(rows, {}, form)
        row: dict[str, Any] = (json.loads(text) if form == "json" else read_csv(text))[0]
        assert str(row["test_error"]) == "3.22"
        assert str(row["test_accuracy"]) == "0.9759"
        assert float(row["train_loss"]) == loss


def test_numbers_of_a_narrow_type_are_the_shortest_of_that_type(store: Store) -> None:
    rows = filled(store).astype({"test_error": "float32"})
    assert read_csv(listing(rows, {}, "csv"))[0]["test_error"] == "3.22"
    assert json.loads(listing(rows, {}, "json"))[0]["test_error"] == 3.22


def test_times_are_utc_to_the_microsecond(store: Store) -> None:
    [accepted_at] = store.commit([make_record()])
    time = f"{accepted_at:%Y-%m-%dT%H:%M:%S.%f}Z"
    rows = load_results(store)
    assert rows.at[0, "accepted_at"] == accepted_at.replace(tzinfo=None)  # as Excel needs it
    assert read_csv(listing(rows, {}, "csv"))[0]["accepted_at"] == time
    assert json.loads(listing(rows, {}, "json"))[0]["accepted_at"] == time


def test_frames_are_for_every_writer_of_pandas(store: Store) -> None:
    rows = filled(store, confusion=MANY)
    assert not [n for n, kind in rows.dtypes.items() if isinstance(kind, pd.DatetimeTZDtype)]
    assert json.loads(rows.to_csv(columns=["confusion"], index=False).split('"')[1]) == MANY


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_has_no_numbers_that_json_does_not_have(store: Store, number: float) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    rows = filled(store, train_loss=number)
    [row] = json.loads(listing(rows, {}, "json"), parse_constant=refuse)
    assert row["train_loss"] is None
    [row] = read_csv(listing(rows, {}, "csv"))
    assert row["train_loss"] == ("" if np.isnan(number) else str(number))


# --- text of users ---


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_user_made_text_is_neutral_in_every_format(store: Store, form: str) -> None:
    cell = make_cell(EVIL, recipe=EVIL)
    error = f"Traceback\n  File\nValueError: {EVIL}\n"
    store.commit([_failed(cell, error)])
    text = listing(load_results(store), {}, form)
    assert not {"\x1b", "\u202e", "\x00", "\t"} & set(text)
    if form == "csv":
        assert len(text.splitlines()) == 2
        [row] = read_csv(text)
        assert row["model"].startswith("'=")
        assert row["error"].startswith(r"Traceback\n  File\nValueError: =\x1b[31m")
    if form == "json":
        assert json.loads(text)[0]["error"] == error


def _failed(cell: Any, error: str) -> Any:
    record = make_record(cell, error=None)
    record.row["error"] = error
    return record


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_is_streamed_over_http_is_the_same(store: Store, form: str) -> None:
    store.commit([_failed(make_cell(EVIL), f"ValueError: {EVIL}"), make_record(confusion=MANY)])
    streamed = b"".join(export(store.scan({}), form)).decode()
    listed = listing(load_results(store), {}, form)
    assert sorted(streamed.strip("[]\n").replace("},", "}").splitlines()) == sorted(
        listed.strip("[]\n").replace("},", "}").splitlines()
    )


@pytest.mark.parametrize("form", FORMATS)
def test_names_are_neutral_in_every_format_of_the_table(store: Store, form: str) -> None:
    store.commit([make_record(make_cell(EVIL, recipe=EVIL)), make_record()])
    text = render(comparison_table(store), form)
    assert not {"\x1b", "\u202e", "\x00", "\t"} & set(text)
    if form == "md":
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert {line.replace(r"\|", "").count("|") for line in rows} == {4}
        assert "<b>" not in text.replace(r"\<", "")
    if form == "csv":
        assert "'=" in text


def test_computed_numbers_of_the_table_have_no_rounding_errors(store: Store) -> None:
    store.commit([make_record(make_cell("FCN"), error=1.94)])
    assert render(comparison_table(store), "csv").splitlines()[1].endswith(",1.94,,2.1,-0.16")


# --- for people ---


def test_the_reason_of_a_failure_is_in_the_list_in_one_line(store: Store) -> None:
    store.commit([make_record(make_cell("FCN"))])
    assert "reason" not in listing(load_results(store), {})
    error = "Traceback\nValueError: " + "much " * 100
    store.commit([_failed(make_cell("CNN"), error)])
    head, *rows = listing(load_results(store), {}).splitlines()
    assert len(rows) == 2
    assert head.split()[-1] == "reason"
    assert "ValueError: much much" in rows[1]
    assert rows[1].endswith("…")


def test_a_wide_row_is_neither_cut_nor_broken(store: Store) -> None:
    name = "x" * 400
    store.commit([make_record(make_cell(name, recipe=":smile:"))])
    [_, row] = listing(load_results(store), {}).splitlines()
    assert f"{name}/none/R/seed0" in row
    assert ":smile:" in row


@pytest.mark.parametrize(
    ("form", "text"),
    [("table", "No results.\n"), ("json", "[]\n"), ("csv", ",".join(CELLS.names) + "\n")],
)
def test_nothing_is_said_in_every_format(store: Store, form: str, text: str) -> None:
    assert listing(load_results(store), {}, form) == text
