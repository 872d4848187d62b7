"""The comparison table: its numbers, its holes, and every format it is shown in."""

from __future__ import annotations

import csv
import io
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.graded_stores import evaluated
from support.records import make_cell, make_record

from stn_cluster import UserError, comparison_table, load_results
from stn_cluster.grid import Cell
from stn_cluster.report.reference import PAPER
from stn_cluster.report.render import FORMATS, render
from stn_cluster.report.table import COLUMNS, cells_table, shown_keys
from stn_cluster.store import Store

ROWS = (("FCN", "none"), ("CNN", "none"), ("ST-CNN", "affine"))
DISTORTIONS = ("R", "RTS", "P:xy")


def submit(store: Store, cells: list[Cell], job_id: str = "job") -> None:
    dumped = [cell.model_dump(mode="json") for cell in cells]
    store.write_job(job_id, {"job_id": job_id, "submitted_at": "2025", "cells": dumped})


def grid(seeds: int = 3) -> list[Cell]:
    return [
        make_cell(model, transform, distortion, seed)
        for model, transform in ROWS
        for distortion in DISTORTIONS
        for seed in range(seeds)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A grid of 9 entries at 3 seeds: all done but FCN/R missing, CNN/R failed, CNN/RTS in part."""
    store = Store.open(tmp_path / "store", create=True)
    cells = grid()
    submit(store, cells)
    for number, cell in enumerate(cells):
        name = cell.label.partition("/seed")[0]
        if name == "FCN/none/R":
            continue
        failed = name == "CNN/none/R" or (name == "CNN/none/RTS" and cell.seed > 0)
        store.commit([make_record(cell, error=None if failed else 1 + (number * 7 % 5) / 3)])
    return store


def entry(table: pd.DataFrame, model: str, distortion: str) -> dict[str, object]:
    found = table[(table["model"] == model) & (table["distortion"] == distortion)]
    assert len(found) == 1
    row: dict[str, object] = found.iloc[0].to_dict()
    return row


def test_the_reference_is_the_papers_table() -> None:
    source = Path(__file__).parents[4] / "shared" / "paper_table1.csv"
    if not source.exists():
        pytest.skip("shared/paper_table1.csv is not here")
    with source.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(PAPER) == 32
    for row in rows:
        names = row["model"], row["transform"], row["distortion"]
        assert PAPER[names] == float(row["error_percent"])


def test_numbers_agree_with_an_independent_computation(store: Store) -> None:
    table = comparison_table(store.uri)
    assert list(table.columns) == [*COLUMNS, "status"]
    assert len(table) == len(ROWS) * len(DISTORTIONS)
    errors: dict[tuple[str, str, str], list[float]] = {}
    for row in pd.read_parquet(f"{store.uri}/cells").to_dict("records"):
        if row["status"] == "succeeded":
            names = (row["model"], row["transform"], row["distortion"])
            errors.setdefault(names, []).append(row["test_error"])
    done = table[table["status"] == "succeeded"]
    assert len(done) == len(errors) == 7
    for row in done.to_dict("records"):
        values = errors[row["model"], row["transform"], row["distortion"]]
        paper = PAPER[row["model"], row["transform"], row["distortion"].partition(":")[0]]
        assert row["n_seeds"] == len(values)
        assert row["test_error_mean"] == pytest.approx(statistics.fmean(values))
        assert row["reference_error"] == paper
        assert row["delta"] == pytest.approx(statistics.fmean(values) - paper)
        if len(values) > 1:
            assert row["test_error_std"] == pytest.approx(statistics.stdev(values))


def test_an_entry_that_has_not_run_is_missing_and_a_failed_one_failed(store: Store) -> None:
    table = comparison_table(store)
    for model, status in (("FCN", "missing"), ("CNN", "failed")):
        row = entry(table, model, "R")
        assert row["status"] == status
        assert row["n_seeds"] == 0
        assert np.isnan([row["test_error_mean"], row["test_error_std"], row["delta"]]).all()
        assert row["reference_error"] == PAPER[model, "none", "R"]
    partly = entry(table, "CNN", "RTS")
    assert partly["status"] == "succeeded"
    assert partly["n_seeds"] == 1
    assert np.isnan(partly["test_error_std"])


def test_entries_between_what_was_submitted_are_missing_too(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    assert len(comparison_table(store)) == 0
    submit(store, [make_cell("FCN", distortion="R"), make_cell("CNN", distortion="E")])
    table = comparison_table(store)
    assert list(table["model"]) == ["FCN", "FCN", "CNN", "CNN"]
    assert list(table["distortion"]) == ["R", "E", "R", "E"]
    assert set(table["status"]) == {"missing"}


def test_data_sets_and_recipes_are_never_averaged_together(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    wanted = {("digits", "fast"): 1.0, ("digits", "fast+1a2b"): 2.0, ("mnist", "fast"): 4.0}
    for (dataset, recipe), error in wanted.items():
        store.commit([make_record(make_cell(dataset=dataset, recipe=recipe), error=error)])
    table = comparison_table(store)
    names = zip(table["dataset"], table["recipe"], strict=True)
    assert dict(zip(names, table["test_error_mean"], strict=True)) == wanted
    for format in ("text", "md", "latex", "html"):
        assert render(table, format).count("recipe fast") == 3


@pytest.mark.parametrize(("error", "status"), [(2.0, "succeeded"), (None, "failed")])
def test_the_newest_key_of_an_entry_and_seed_replaces_older_ones(
    tmp_path: Path, error: float | None, status: str
) -> None:
    store = Store.open(tmp_path, create=True)
    store.commit([make_record(make_cell(revision=1), error=9.0)])
    store.commit([make_record(make_cell(revision=2), error=error)])
    submit(store, [make_cell(revision=3)])  # not run yet: what there is stays
    row = entry(comparison_table(store), "CNN", "R")
    assert row["status"] == status
    assert row["n_seeds"] == (error is not None)
    assert error is None or row["test_error_mean"] == error


def test_a_frame_gives_the_table_of_its_own_rows(store: Store) -> None:
    of_frame = comparison_table(load_results(store))
    of_rows = comparison_table(pd.read_parquet(f"{store.uri}/cells"))
    pd.testing.assert_frame_equal(of_frame, comparison_table(store))
    pd.testing.assert_frame_equal(of_frame, of_rows)
    without = load_results(store, model=["CNN", "ST-CNN"])
    assert set(comparison_table(without)["model"]) == {"CNN", "ST-CNN"}
    with pytest.raises(UserError, match="lacks the columns"):
        comparison_table(pd.DataFrame({"model": ["CNN"]}))


def test_filters_apply_to_what_was_submitted_and_to_what_has_run(store: Store) -> None:
    table = comparison_table(store, model=["FCN", "CNN"], distortion="R", seed=1)
    assert list(table["status"]) == ["missing", "failed"]
    assert list(comparison_table(store, status="missing")["model"]) == ["FCN"]
    one = comparison_table(store, model="ST-CNN", seed=1)
    assert list(one["n_seeds"]) == [1, 1, 1]
    with pytest.raises(UserError, match="no cell matches model=STN"):
        comparison_table(store, model="STN")
    with pytest.raises(UserError, match="unknown filter 'sed'"):
        comparison_table(store, sed=1)


def test_a_reference_is_chosen_by_name(store: Store) -> None:
    table = comparison_table(store, reference="none")
    assert table["reference_error"].isna().all()
    assert "paper" not in render(table)
    with pytest.raises(UserError, match=r"unknown reference 'papr': did you mean 'paper'\?"):
        comparison_table(store, reference="papr")


def test_csv_has_the_columns_and_words_for_what_has_no_number(store: Store) -> None:
    table = comparison_table(store)
    text = render(table, "csv")
    assert text.splitlines()[0] == ",".join(COLUMNS)
    back = pd.read_csv(io.StringIO(text))
    assert list(back.columns) == list(COLUMNS)
    assert entry(back, "FCN", "R")["test_error_mean"] == "missing"
    assert entry(back, "CNN", "R")["test_error_mean"] == "failed"
    assert entry(back, "CNN", "R")["n_seeds"] == 0
    done = (table["status"] == "succeeded").to_numpy()
    means = back.loc[done, "test_error_mean"].astype(float)
    assert means.tolist() == table.loc[done, "test_error_mean"].tolist()


def test_text_shows_mean_spread_reference_and_difference(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    for seed, error in enumerate((1.0, 1.2)):
        store.commit([make_record(make_cell("ST-CNN", "tps", "R", seed), error=error)])
    store.commit([make_record(make_cell("ST-CNN", "tps", "E"), error=1.1)])
    text = render(comparison_table(store))
    assert "1.10 ±0.14 (0.7, +0.40)" in text
    assert "1.10 n=1 (1.1, +0.00)" in text
    assert "1.10 (0.9, +0.20)" in text  # the mean over the distortions
    assert "2 seeds" in text
    assert "MNIST, not for digits" in text
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}


def test_a_row_with_a_hole_has_no_mean(store: Store) -> None:
    lines = render(comparison_table(store)).splitlines()
    means = {line.split()[0]: line.split()[-1] for line in lines if " none " in line}
    assert means == {"FCN": "-", "CNN": "-"}
    assert any("missing: not in this store." in line for line in lines)


def test_the_caveat_on_mnist_is_left_out_where_the_data_are_mnist(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    store.commit([make_record(make_cell(dataset="mnist"))])
    assert "not for" not in render(comparison_table(store))
    assert "one seed" in render(comparison_table(store))


@pytest.mark.parametrize("name", ["__x__", "_x_", "~~x~~", "&amp;", "a_b"])
def test_markdown_shows_names_as_they_are(store: Store, name: str) -> None:
    store.commit([make_record(make_cell(name))])
    text = render(comparison_table(store), "md")
    shown = "a_b" if name == "a_b" else re.sub(r"([_~&])", r"\\\1", name)
    assert f"| {shown} |" in text


def test_markdown_rows_have_as_many_columns_as_the_header(store: Store) -> None:
    lines = [line for line in render(comparison_table(store), "md").splitlines() if "|" in line]
    assert len(lines) == 2 + len(ROWS)
    assert {line.count("|") for line in lines} == {len(DISTORTIONS) + 4}


def test_latex_rows_have_as_many_columns_as_the_tabular(store: Store) -> None:
    text = render(comparison_table(store), "latex")
    (begin,) = [line for line in text.splitlines() if r"\begin{tabular}" in line]
    columns = begin.removeprefix(r"\begin{tabular}{").rstrip("}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(ROWS)
    assert {line.count("&") + 1 for line in rows} == {len(columns)} == {len(DISTORTIONS) + 3}
    assert r"$\pm$" in text
    assert "±" not in text


class _Tables(HTMLParser):
    """The cells of all tables, and whether every tag was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


def test_html_is_a_whole_document_whose_names_are_escaped(store: Store) -> None:
    store.commit([make_record(make_cell("<b>&Co_1%", distortion="R"), error=1.0)])
    table = comparison_table(store)
    text = render(table, "html")
    page = _Tables()
    page.feed(text)
    page.close()
    assert text.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.rows[0] == ["model", "transform", *DISTORTIONS, "mean"]
    assert [row[0] for row in page.rows[1:]] == ["FCN", "CNN", "ST-CNN", "<b>&Co_1%"]
    assert {len(row) for row in page.rows} == {len(DISTORTIONS) + 3}
    assert r"\textless{}b\textgreater{}\&Co\_1\%" in render(table, "latex")


def test_every_format_takes_an_empty_table_and_ends_with_one_newline(
    tmp_path: Path, store: Store
) -> None:
    empty = comparison_table(Store.open(tmp_path / "empty", create=True))
    for format in FORMATS:
        for table in (empty, comparison_table(store)):
            text = render(table, format)
            assert text.endswith("\n")
            assert not text.endswith("\n\n")
    with pytest.raises(UserError, match="unknown format 'txt': did you mean 'text'"):
        render(empty, "txt")


def test_recipes_that_differ_for_one_model_only_share_the_others_cells(store: Store) -> None:
    """Those cells have one key: they are trained once, and stand in the tables of both recipes."""
    shared, own = make_cell("ST-CNN", "affine", "R", seed=0), make_cell("CNN", recipe="other")
    submit(store, [shared.model_copy(update={"recipe": "other"}), own], "second")
    store.commit([make_record(own, error=0.5)])
    table = comparison_table(store, recipe="other")
    assert set(table["recipe"]) == {"other"}
    assert entry(table, "CNN", "R")["test_error_mean"] == 0.5
    before = comparison_table(store, recipe="smoke", seed=0)
    same = entry(before, "ST-CNN", "R")["test_error_mean"]
    assert entry(table, "ST-CNN", "R")["test_error_mean"] == same


def test_a_jobs_cells_are_shown_under_the_names_that_the_job_has_for_them(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    cells = [make_cell(model, distortion="E") for model in ("FCN", "CNN")]
    store.commit([make_record(cells[0], error=3.0), make_record(make_cell("ST-FCN", "tps"))])
    asked = [cell.model_copy(update={"recipe": "smoke+1a2b"}) for cell in cells]
    table = cells_table(store, asked)
    assert list(table["recipe"]) == ["smoke+1a2b"] * 2
    assert list(table["model"]) == ["FCN", "CNN"]
    assert list(table["status"]) == ["succeeded", "missing"]
    assert entry(table, "FCN", "E")["test_error_mean"] == 3.0


# --- models that were evaluated and not trained ---


@pytest.fixture
def beside(tmp_path: Path) -> Store:
    """Two recipes of one data set, another data set, and an evaluated model of the first."""
    store = Store.open(tmp_path / "store", create=True)
    for recipe, error in (("paper", 3.0), ("fast", 2.0)):
        store.commit([make_record(make_cell("CNN", recipe=recipe), error=error)])
    store.commit([make_record(make_cell("CNN", dataset="mnist"), error=4.0)])
    store.commit([make_record(evaluated(), error=1.0)])
    return store


def told(table: pd.DataFrame) -> list[tuple[object, ...]]:
    columns = ["dataset", "recipe", "model", "test_error_mean"]
    return list(table[columns].itertuples(index=False, name=None))


def test_an_evaluated_model_stands_in_every_matrix_of_its_data_set(beside: Store) -> None:
    assert told(comparison_table(beside)) == [
        ("digits", "fast", "CNN", 2.0),
        ("digits", "fast", "mine", 1.0),
        ("digits", "paper", "CNN", 3.0),
        ("digits", "paper", "mine", 1.0),
        ("mnist", "smoke", "CNN", 4.0),
    ]
    assert told(comparison_table(beside, recipe="paper"))[1] == ("digits", "paper", "mine", 1.0)
    assert told(comparison_table(beside, recipe="none")) == [("digits", "none", "mine", 1.0)]
    assert len(shown_keys(beside)) == 4


def test_evaluated_models_alone_have_a_matrix(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    store.commit([make_record(evaluated(), error=1.0)])
    assert told(comparison_table(store)) == [("digits", "none", "mine", 1.0)]
    assert "digits, recipe none" in render(comparison_table(store))


def test_other_weights_under_the_same_name_take_the_place_of_the_older_ones(beside: Store) -> None:
    beside.commit([make_record(evaluated(digest="b"), error=0.5)])
    assert ("digits", "fast", "mine", 0.5) in told(comparison_table(beside))
    assert len(comparison_table(beside)) == 5


def test_an_evaluated_model_never_takes_the_place_of_a_trained_one(beside: Store) -> None:
    beside.commit([make_record(evaluated("CNN"), error=0.25)])
    table = told(comparison_table(beside, recipe="fast"))
    assert table[0] == ("digits", "fast", "CNN", 2.0)
    assert ("digits", "fast", "CNN (weights)", 0.25) in table


def test_the_table_of_a_job_has_its_evaluated_models(beside: Store) -> None:
    cells = [make_cell("CNN", recipe="fast"), evaluated(), evaluated(distortion="E")]
    table = cells_table(beside, cells)
    assert set(table["recipe"]) == {"fast"}
    assert entry(table, "mine", "R")["test_error_mean"] == 1.0
    assert entry(table, "mine", "E")["status"] == "missing"
