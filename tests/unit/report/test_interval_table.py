"""Intervals and marks of the comparison table, in every format and for every kind of store."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from support.coloured import write_discs
from support.graded_stores import (
    Results,
    Wrong,
    commit,
    drawn,
    evaluated,
    graded_record,
    labels_of,
)
from support.records import make_cell, make_record
from support.refusals import assert_refused, make_command

from stn_cluster import UserError, comparison_table, register_dataset
from stn_cluster.report.matrix import DAGGER, INTERVAL_COLUMNS, RING
from stn_cluster.report.render import FORMATS, render
from stn_cluster.report.statistics.methods import compare_methods, method_error
from stn_cluster.report.statistics.paired import compare_networks
from stn_cluster.report.table import COLUMNS, ComparisonTable
from stn_cluster.store import Store, load_results

ROOT = Path(__file__).parents[3]
ROWS = {
    ("FCN", "none"): 0.10,
    ("CNN", "none"): 0.04,
    ("ST-CNN", "affine"): 0.039,
    ("ST-CNN", "tps"): 0.036,
}


def entry(table: pd.DataFrame, model: str, transform: str, distortion: str) -> pd.Series:
    columns = ["model", "transform", "distortion"]
    (index,) = np.flatnonzero((table[columns] == [model, transform, distortion]).all(axis=1))
    return table.iloc[index]


def row_of(results: Results, names: tuple[str, str], distortion: str) -> Wrong:
    """(seeds, 1, images)."""
    chosen = [
        wrong[None]
        for cell, wrong in results
        if (cell.model, cell.transform, cell.distortion) == (*names, distortion)
    ]
    return np.array(chosen)


def test_one_seed_is_marked_by_mcnemars_test_and_holms_correction_over_all_columns(
    store: Store,
) -> None:
    results = drawn(ROWS)
    commit(store, results)
    table = comparison_table(store, interval=True)
    assert list(table.columns) == [*COLUMNS, "status", *INTERVAL_COLUMNS]
    p, names = [], []
    for distortion in ("R", "E"):
        for one, other in combinations(ROWS, 2):
            a, b = (row_of(results, row, distortion)[0, 0] for row in (one, other))
            counts = [[0, int((~a & b).sum())], [int((a & ~b).sum()), 0]]
            p.append(mcnemar(counts, exact=True).pvalue)
            names.append((one, other, distortion))
    corrected = dict(zip(names, multipletests(p, method="holm")[1], strict=True))
    for distortion in ("R", "E"):
        errors = {row: row_of(results, row, distortion).mean() for row in ROWS}
        best = min(errors, key=errors.__getitem__)
        for row in ROWS:
            found = entry(table, *row, distortion)
            pair = (row, best) if list(ROWS).index(row) < list(ROWS).index(best) else (best, row)
            expected = 1.0 if row == best else corrected[(*pair, distortion)]
            assert found["p_best"] == pytest.approx(expected, rel=1e-9)
            assert found["marked"] == (expected > 0.05)
            ends = proportion_confint(round(errors[row] * 2000), 2000, method="wilson")
            assert (found["low"] / 100, found["high"] / 100) == pytest.approx(ends)
            assert (found["question"], found["marks_question"]) == ("networks", "networks")
            assert found["rank_low"] <= found["rank"] <= found["rank_high"]
    assert set(table["marked"]) == {True, False}
    text = render(table)
    assert "Holm's correction over 12 comparisons" in text
    assert "One seed says nothing about the methods." in text
    assert "2,000 test images" in text
    assert text.count(RING) == table["marked"].sum() + 1  # the legend's


def test_from_three_seeds_on_marks_and_intervals_are_about_methods(store: Store) -> None:
    results = drawn(ROWS, seeds=3)
    commit(store, results)
    table = comparison_table(store, interval=True)
    assert set(table["question"]) == set(table["marks_question"]) == {"methods"}
    p = []
    for distortion in ("R", "E"):
        for one, other in combinations(ROWS, 2):
            a, b = row_of(results, one, distortion), row_of(results, other, distortion)
            p.append(compare_methods(a, b).p)
    corrected = multipletests(p, method="holm")[1]
    found = table.loc[table["distortion"] == "R", "p_best"].tolist()
    best = int(np.argmin([row_of(results, row, "R").mean() for row in ROWS]))
    pairs = list(combinations(range(4), 2))
    expected = [
        1.0 if i == best else corrected[pairs.index((min(i, best), max(i, best)))] for i in range(4)
    ]
    assert found == pytest.approx(expected, rel=1e-6)
    interval = method_error(row_of(results, ("FCN", "none"), "R"))
    fcn = entry(table, "FCN", "none", "R")
    assert (fcn["low"], fcn["high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
    text = render(table)
    assert "these methods, paired t over seeds and images" in text
    assert "say nothing" not in text
    assert "over seeds and images: these methods" in text
    assert "Pairs with a column's best that are open" in text


def test_two_seeds_are_trained_networks_and_say_nothing_about_methods(store: Store) -> None:
    results = drawn(ROWS, seeds=2, distortions=("R",))
    commit(store, results)
    table = comparison_table(store, interval=True, correction="benjamini-hochberg")
    assert set(table["question"]) == {"networks"}
    text = render(table)
    assert "Two seeds say nothing about the methods." in text
    assert "exact sign-flip by base image" in text
    assert "Benjamini and Hochberg's correction over 6 comparisons" in text
    p = [
        compare_networks(row_of(results, a, "R"), row_of(results, b, "R")).p
        for a, b in combinations(ROWS, 2)
    ]
    corrected = multipletests(p, method="fdr_bh")[1]
    assert set(np.round(table["p_best"], 9)) <= {1.0, *np.round(corrected, 9)}


def test_columns_answer_what_their_seeds_allow(store: Store) -> None:
    commit(store, drawn(ROWS, seeds=3, distortions=("R",)) + drawn(ROWS, distortions=("E",)))
    table = comparison_table(store, interval=True)
    by_column = table.groupby("distortion", sort=False)["marks_question"].unique().map(list)
    assert by_column.to_dict() == {"R": ["methods"], "E": ["networks"]}
    text = render(table)
    assert "E: these trained networks, exact McNemar" in text
    assert "R: these methods, paired t over seeds and images" in text
    assert "12 comparisons" in text
    open_pairs = int(table["marked"].sum()) - 2  # the bests themselves are marked, too
    assert f"that are open: {open_pairs};" in text
    assert "it can be said from 3 seeds on" in text
    assert "over seeds and images, where n >= 3: these methods" in text


def uncommon_seeds(store: Store) -> None:
    """tps is the best of the seeds that both have; other seeds of CNN have hardly an error."""
    rows = {("CNN", "none"): 0.05, ("ST-CNN", "tps"): 0.03}
    results = drawn(rows, distortions=("R",), seeds=3)
    commit(store, results + drawn({("CNN", "none"): 0.001}, distortions=("R",), seeds=7)[3:])


def test_the_best_of_a_column_is_that_of_the_seeds_which_its_ranks_are_over(store: Store) -> None:
    uncommon_seeds(store)
    table = comparison_table(store, interval=True)
    cnn, tps = entry(table, "CNN", "none", "R"), entry(table, "ST-CNN", "tps", "R")
    assert cnn["test_error_mean"] < tps["test_error_mean"]  # over all of its seeds
    assert (tps["rank"], tps["p_best"], tps["marked"]) == (1, 1, True)
    assert (cnn["rank"], cnn["n_seeds"]) == (2, 7)
    ((_, notes),) = table.attrs["notes"].items()
    said = "R: marks and ranks are over the seeds that all entries have (0, 1, 2), errors over all."
    assert said in notes


def test_seeds_that_all_have_need_no_word(store: Store) -> None:
    commit(store, drawn(ROWS, seeds=3))
    ((_, notes),) = comparison_table(store, interval=True).attrs["notes"].items()
    assert not any("seeds that all" in note for note in notes)


def test_distorted_versions_count_as_their_base_image(store: Store) -> None:
    results = drawn({("FCN", "none"): 0.1, ("CNN", "none"): 0.1}, distortions=("R",), images=2000)
    alike = [(cell, np.tile(wrong[:200], 10)) for cell, wrong in results]
    commit(store, alike, repeats=10)
    table = comparison_table(store, interval=True)
    assert set(table["base_images"]) == {200}
    assert set(table["n_test"]) == {2000}
    alone = proportion_confint(
        int(row_of(alike, ("FCN", "none"), "R")[0, 0, :200].sum()), 200, method="wilson"
    )
    fcn = entry(table, "FCN", "none", "R")
    assert fcn["high"] - fcn["low"] >= 100 * (alone[1] - alone[0]) - 1e-9
    assert "2,000 test images of 200 base images" in render(table)


def test_failed_missing_and_rerun_cells_are_counted_beside_every_number(store: Store) -> None:
    results = drawn(ROWS, seeds=3, distortions=("R", "E"))
    cells = [cell for cell, _ in results]
    failed, missing, rerun = cells[0], cells[4], cells[7]
    commit(store, [one for one in results if one[0] not in (failed, missing)])
    commit(store, [one for one in results if one[0] is rerun])
    store.commit([make_record(failed, error=None)])
    dumped = [cell.model_dump(mode="json") for cell in cells]
    store.write_job("job", {"job_id": "job", "submitted_at": "2025", "cells": dumped})
    table = comparison_table(store, interval=True)
    assert table[["n_failed", "n_missing", "n_rerun"]].sum().tolist() == [1, 1, 1]
    assert entry(table, failed.model, failed.transform, "R")["n_failed"] == 1
    text = render(table)
    assert "Cells: 22 of 24 succeeded; 1 failed, 1 missing, 1 rerun." in text
    (line,) = [line for line in text.splitlines() if line.startswith("FCN")]
    assert " n=2 [" in line
    assert " n=2-3" in line.split("  ")[-1]  # the mean, of an incomplete row
    assert "R: these trained networks" in text  # only two seeds are common to all
    assert "E: these methods" in text


def test_entries_that_nobody_asked_for_are_counted_as_such(store: Store) -> None:
    results = drawn(ROWS)
    commit(store, [one for one in results if one[0].label != "FCN/none/E/seed0"])
    text = render(comparison_table(store.uri, interval=True), "text")
    assert "missing: not in this store." in text
    assert text.rstrip().endswith("0 missing, 0 rerun; 1 entry of the matrix has no cell.")


@pytest.mark.parametrize("repeats", [1, 4])
def test_networks_without_an_error_show_no_smallest_difference(store: Store, repeats: int) -> None:
    results = [(cell, np.zeros_like(wrong)) for cell, wrong in drawn(ROWS, seeds=3)]
    commit(store, results, repeats=repeats)
    text = render(comparison_table(store.uri, interval=True), "text")
    assert "differ on no image: what would be told apart is unknown." in text
    assert "0.00 points" not in text


def test_latex_shows_the_signs_of_a_name(store: Store) -> None:
    commit(store, drawn({("a<b>|c", "none"): 0.05}))
    latex = render(comparison_table(store.uri, interval=True), "latex")
    assert r"a\textless{}b\textgreater{}\textbar{}c & none" in latex


@pytest.mark.parametrize("name", ["[a]", "*a"])
def test_a_row_of_latex_is_no_argument_of_the_line_before(store: Store, name: str) -> None:
    commit(store, drawn({(name, "none"): 0.05}, distortions=("R",)))
    assert f"\n{{}}{name} & none" in render(comparison_table(store.uri), "latex")


def test_markdown_has_no_formulas_headings_or_quotes_of_a_name(store: Store) -> None:
    commit(store, drawn({("$x$", "none"): 0.05, ("# a", "none"): 0.1, (">b", "none"): 0.1}))
    markdown = render(comparison_table(store.uri), "md")
    for text in (r"| \$x\$ | none", r"| \# a | none", r"| \>b | none"):
        assert text in markdown


def test_two_data_sets_are_one_family_and_never_one_column(store: Store) -> None:
    commit(store, drawn(ROWS, dataset="digits") + drawn(ROWS, dataset="mnist", images=1000))
    text = render(comparison_table(store, interval=True))
    assert text.count("over 24 comparisons") == 2
    assert text.count(DAGGER) > 1  # the paper's numbers are for MNIST
    digits, mnist = text.split("\n\n")
    assert DAGGER not in digits
    assert "1,000 test images" in mnist


def test_cells_on_other_test_images_are_not_compared(store: Store) -> None:
    results = drawn(ROWS, distortions=("R",))
    (odd, wrong), *others = results
    commit(store, others)
    record = graded_record(odd, wrong)
    assert record.predictions is not None
    record.predictions["test_set"] = "f" * 16
    labels = labels_of(2000).tolist()
    row = {"test_set": "f" * 16, "dataset": "digits", "revision": "0", "repeats": 1}
    store.commit([record], [{**row, "labels": labels, "class_names": None}])
    table = comparison_table(store, interval=True)
    other = entry(table, odd.model, odd.transform, "R")
    assert other["marked"] is None
    assert other["low"] < other["test_error_mean"] < other["high"]
    text = render(table)
    assert "over 3 comparisons" in text
    assert "tested on other images than their column" in text


def test_a_store_without_labels_has_intervals_and_says_why_it_has_no_marks() -> None:
    table = comparison_table(ROOT / "results" / "mnist-v1", interval=True)
    assert table["marked"].isna().all()
    assert table["low"].notna().all()
    row = entry(table, "ST-CNN", "tps", "R")
    ends = proportion_confint(90, 10_000, method="wilson")
    assert (row["low"] / 100, row["high"] / 100) == pytest.approx(ends)
    text = render(table)
    assert RING not in text
    assert "name the data's folder with --data-root" in text
    assert table["beyond_reference"].sum() == 11


def register(labels: list[int]) -> None:
    import torch

    from stn_cluster.data.datasets import Dataset

    def load(root: Path | None) -> Dataset:
        assert root is not None
        images = torch.zeros(len(labels), 28, 28, dtype=torch.uint8)
        return Dataset(images[:1], torch.tensor([0]), images, torch.tensor(labels))

    register_dataset("mine", prepare=lambda root: None)(load)


def test_labels_come_from_the_data_root_and_have_to_be_those_that_were_tested(
    store: Store, tmp_path: Path
) -> None:
    labels = labels_of(500)
    register(labels.tolist())
    cells = drawn({("CNN", "none"): 0.1, ("FCN", "none"): 0.3}, dataset="mine", images=500)
    for cell, wrong in cells:
        revisions = {"dataset:mine": 1, f"distortion:{cell.distortion}": 2}
        known = cell.model_copy(update={"revisions": revisions})
        store.commit([graded_record(known, wrong, version=1)])
    assert comparison_table(store, interval=True)["marked"].isna().all()
    table = comparison_table(store, interval=True, data_root=tmp_path)
    assert table["marked"].tolist() == [False, False, True, True]
    register(((labels + 3) % 10).tolist())
    with pytest.raises(UserError, match=r"--data-root .*: its mine is not what .* was tested on"):
        comparison_table(store, interval=True, data_root=tmp_path)
    register(labels[:-1].tolist())
    with pytest.raises(UserError, match="is not what"):
        comparison_table(store, interval=True, data_root=tmp_path)


def test_predictions_that_do_not_fit_their_row_are_not_graded(store: Store) -> None:
    results = drawn(ROWS, distortions=("R",))
    commit(store, results)
    wrong_count = graded_record(make_cell("MyNet", "none", "R"), np.ones(2000, bool))
    wrong_count.row["n_wrong"] = 7
    store.commit([wrong_count])
    table = comparison_table(store, interval=True)
    assert entry(table, "MyNet", "none", "R")["marked"] is None
    assert "do not have the errors of its row" in render(table)
    assert "over 6 comparisons" in render(table)


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_cells_are_shown_as_they_are(store: Store, count: int) -> None:
    if count:
        commit(store, drawn({("CNN", "none"): 0.1}, distortions=("R",)))
    table = comparison_table(store, interval=True)
    assert len(table) == count
    for format in FORMATS:
        text = render(table, format)
        assert text.endswith("\n")
        assert RING not in text


def test_hundreds_of_entries_are_compared_all_with_all(store: Store) -> None:
    rows = {(f"Net{number}", "none"): 0.05 + number / 2000 for number in range(200)}
    commit(store, drawn(rows, images=60))
    table = comparison_table(store, interval=True)
    assert len(table) == 400
    assert "over 39,800 comparisons" in render(table)
    assert table["marked"].notna().all()


def test_every_format_shows_the_marks(store: Store) -> None:
    commit(store, drawn(ROWS, dataset="mnist"))
    table = comparison_table(store, interval=True)
    marked = int(table["marked"].sum())
    latex = render(table, "latex")
    assert latex.count(r"$^{\circ}$") == marked + 1
    assert RING not in latex
    assert DAGGER not in latex
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    (caption,) = [line for line in latex.splitlines() if line.startswith(r"\caption")]
    assert all(part in caption for part in ("one seed", "2,000 test images", "Holm", "12 comp"))
    for format in ("md", "html"):
        assert render(table, format).count(RING) == marked + 1
    back = pd.read_csv(io.StringIO(render(table, "csv")))
    assert list(back.columns) == [*COLUMNS, *INTERVAL_COLUMNS]
    assert back["marked"].sum() == marked
    assert back["low"].to_numpy() == pytest.approx(table["low"].to_numpy())
    plain = render(comparison_table(store), "csv")
    assert plain.splitlines()[0] == ",".join(COLUMNS)


def test_a_notebook_shows_the_matrix_and_what_is_computed_from_it_as_rows(store: Store) -> None:
    commit(store, drawn(ROWS))
    for interval in (False, True):
        table = comparison_table(store, interval=interval)
        assert isinstance(table, ComparisonTable)
        shown = table._repr_html_()
        assert shown is not None
        assert "<h2>digits, recipe smoke</h2>" in shown
        assert shown.count("<tr>") == 1 + len(ROWS)
        assert (RING in shown) == interval
        assert "<html" not in shown
    chosen = table[["model", "low"]]
    assert "<h2>" not in (chosen._repr_html_() or "")  # type: ignore[operator]
    table.drop(columns="status", inplace=True)
    assert "<h2>" not in (table._repr_html_() or "")


def test_what_cannot_be_asked_is_said_in_one_line(store: Store) -> None:
    commit(store, drawn(ROWS))
    with pytest.raises(UserError, match=r"unknown correction 'hulm': did you mean 'holm'\?"):
        comparison_table(store, interval=True, correction="hulm")
    with pytest.raises(UserError, match="need a store: rows alone have no predictions"):
        comparison_table(load_results(store), interval=True)


def test_the_command_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Store
) -> None:
    monkeypatch.delenv("STN_CLUSTER_SERVER", raising=False)
    command = make_command(monkeypatch, capsys)
    commit(store, drawn(ROWS))
    here = ("table", "--store", store.uri)
    for format in FORMATS:
        told = command(*here, "--interval", "--format", format)
        assert told.code == 0
        assert told.out == render(comparison_table(store, interval=True), format)
    told = command(*here, "--interval", "--correction", "benjamini-hochberg", "--model", "CNN")
    assert "Benjamini" not in told.out  # one row: nothing to compare
    assert "[" in told.out
    assert command(*here).out == render(comparison_table(store))
    assert_refused(command(*here, "--interval", "--correction", "bh"), "unknown correction 'bh'")
    assert_refused(command(*here, "--correction", "holm"), "--correction: goes with --interval")


@pytest.mark.parametrize("form", FORMATS)
def test_names_are_neutral_in_captions_too(store: Store, form: str) -> None:
    evil = "=\x1b[31mA1\t|`<b>\u202e"
    results = drawn({("CNN", "none"): 0.1, ("FCN", "none"): 0.2}, seeds=3, distortions=("R", evil))
    commit(store, [one for one in results if one[0].distortion == "R" or one[0].seed < 2])
    text = render(comparison_table(store, interval=True), form)
    assert not {"\x1b", "\u202e", "\t"} & set(text)
    if form == "csv":
        assert "'=" in text
    else:  # above the column, and in the caption, as its marks are about networks
        assert text.count("A1") == 2
    if form == "md":
        assert "<b>" not in text.replace(r"\<", "")


# --- models that were evaluated and not trained ---


def lost(error: float, images: int = 2000) -> Wrong:
    return np.random.default_rng(1).random(images) < error


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_evaluated_model_has_intervals_and_marks_in_every_matrix(
    store: Store, seeds: int
) -> None:
    chosen = {("CNN", "none"): 0.2, ("FCN", "none"): 0.1}
    for recipe in ("fast", "paper"):
        commit(store, drawn(chosen, recipe=recipe, seeds=seeds, distortions=("R",)))
    commit(store, [(evaluated(), lost(0.02))])
    table = comparison_table(store, interval=True)
    mine = table[table["model"] == "mine"]
    assert list(mine["recipe"]) == ["fast", "paper"]
    low, high = proportion_confint(int(lost(0.02).sum()), 2000, method="wilson")
    assert mine["low"].tolist() == pytest.approx([100 * low] * 2)
    assert mine["high"].tolist() == pytest.approx([100 * high] * 2)
    assert set(mine["question"]) == {"networks"}
    assert set(table["marks_question"]) == {"methods" if seeds == 3 else "networks"}
    assert list(mine["rank"]) == [1, 1]
    assert list(table["marked"]) == [False, False, True] * 2
    assert f"{RING}" in render(table)


def test_an_evaluated_model_is_the_same_beside_every_seed(store: Store) -> None:
    results = drawn({("CNN", "none"): 0.04}, seeds=3, distortions=("R",))
    commit(store, [*results, (evaluated(), lost(0.03))])
    table = comparison_table(store, interval=True)
    same = np.repeat(lost(0.03)[None, None], 3, axis=0)
    expected = compare_methods(same, row_of(results, ("CNN", "none"), "R"))
    p = entry(table, "CNN", "none", "R")["p_best"]
    assert p == pytest.approx(expected.p)
    assert 0 < p < 1


def test_evaluated_models_alone_are_compared_as_networks(store: Store) -> None:
    commit(store, [(evaluated("one"), lost(0.1)), (evaluated("two"), lost(0.01))])
    table = comparison_table(store, interval=True)
    assert set(table["marks_question"]) == {"networks"}
    assert list(table["marked"]) == [False, True]


def test_a_data_set_without_code_lends_its_labels_to_a_store_without_them(
    store: Store, tmp_path: Path
) -> None:
    write_discs(tmp_path / "data", count=2000, frame=8)
    with np.load(tmp_path / "data" / "discs.npz") as arrays:
        labels = arrays["test_labels"]
    for model, error in (("CNN", 0.04), ("FCN", 0.2)):
        cell = make_cell(model, dataset="discs").model_copy(
            update={"revisions": {"dataset:discs": "d" * 16, "distortion:R": 2}}
        )
        store.commit([graded_record(cell, lost(error), labels=labels, version=1)])
    assert not comparison_table(store, interval=True)["marked"].notna().any()
    table = comparison_table(store, interval=True, data_root=tmp_path / "data")
    assert list(table["marked"]) == [False, True]


def test_a_matrix_of_which_nothing_was_tested_has_a_table(store: Store) -> None:
    store.commit([make_record(error=None, status="succeeded", n_test=None, n_wrong=None)])
    text = render(comparison_table(store, interval=True), "text")
    assert "CNN" in text
    assert "95%" not in text
