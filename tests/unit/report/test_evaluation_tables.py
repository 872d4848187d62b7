"""Tables of evaluations: trained on x tested on, and error by severity."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from support.records import make_cell, make_evaluation_row, make_record

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.report.evaluation_tables import evaluation_means, robustness, transfer
from stn_cluster.report.render import FORMATS
from stn_cluster.store import Store

R, RTS = (make_cell("CNN", "none", name) for name in ("R", "RTS"))


def fill(store: Store, *cells: Cell) -> None:
    """Cells with evaluations whose errors tell which they are: 1 to 4 by the test set."""
    for cell in cells:
        attempt = cell.key
        store.commit([make_record(cell, attempt=attempt)])
        rows = [
            make_evaluation_row(cell, "clean", 1.0, attempt, severity=0.0),
            make_evaluation_row(cell, "R", 2.0 + cell.seed, attempt),
            make_evaluation_row(cell, "R", 4.0, attempt, severity=2.0),
            make_evaluation_row(cell, "R", 3.0, attempt, worst_of=10),
            make_evaluation_row(cell, "RTS", 2.5, attempt),
        ]
        store.commit_evaluations(rows)


def lines(text: str) -> list[list[str]]:
    """Columns of the lines of a text."""
    return [line.split() for line in text.splitlines()]


def test_transfer_has_trained_on_by_tested_on_at_severity_1(store: Store) -> None:
    fill(store, R, RTS)
    text = transfer(store)
    assert text.startswith("digits, recipe smoke\n")
    assert ["model", "transform", "trained", "on", "clean", "R", "RTS"] in lines(text)
    assert ["CNN", "none", "R", "1.00", "2.00", "2.50*"] in lines(text)
    assert ["CNN", "none", "RTS", "1.00", "2.00", "2.50"] in lines(text)  # room on 42 pixels
    assert "*: images fill the canvas, where RTS turns and scales only." in text


def test_robustness_has_the_error_by_severity_and_clean_is_0(store: Store) -> None:
    fill(store, R)
    text = robustness(store, on=["clean", "R"])
    assert "tested on R, by severity" in text
    header = "model  transform  trained on  0     1     1 worst of 10  2"
    assert header in text
    assert ["CNN", "none", "R", "1.00", "2.00", "3.00", "4.00"] in lines(text)


def test_means_are_over_seeds_and_say_of_how_many(store: Store) -> None:
    fill(store, R, make_cell("CNN", "none", "R", seed=2))
    [row] = evaluation_means(store, on="R", severity=1, worst_of=1).to_dict("records")
    assert (row["n_seeds"], row["test_error_mean"]) == (2, 3.0)
    assert row["test_error_std"] == pytest.approx(2**0.5)
    assert "3.00 ±1.41" in transfer(store)
    store.commit([make_record(make_cell("FCN", distortion="R"), attempt="f")])
    only = make_evaluation_row(make_cell("FCN", distortion="R"), "R", 6.0, "f")
    store.commit_evaluations([only])
    text = transfer(store)
    assert "6.00 n=1" in text
    assert "missing: not evaluated." in text


def test_a_revised_cell_is_no_second_seed(store: Store) -> None:
    """Both keys have their evaluations; the newer one counts, as in the comparison table."""
    old, new = (make_cell("CNN", "none", "R", revision=revision) for revision in (1, 2))
    for cell, attempt, error in ((old, "a", 8.0), (new, "b", 2.0)):
        store.commit([make_record(cell, attempt=attempt)])
        store.commit_evaluations([make_evaluation_row(cell, "E", error, attempt)])
    [row] = evaluation_means(store).to_dict("records")
    assert (row["n_seeds"], row["test_error_mean"]) == (1, 2.0)
    [row] = evaluation_means(store, key=old.key).to_dict("records")
    assert row["test_error_mean"] == 8.0


def test_a_revised_cell_counts_before_it_is_evaluated(store: Store) -> None:
    seeds = [[make_cell("CNN", "none", "R", seed=s, revision=r) for r in (1, 2)] for s in (0, 1)]
    for old, _ in seeds:
        store.commit([make_record(old, attempt=old.key)])
        store.commit_evaluations([make_evaluation_row(old, "E", 9.0, old.key)])
    for _, new in seeds:
        store.commit([make_record(new, attempt=new.key)])
    assert evaluation_means(store).empty
    new = seeds[0][1]
    store.commit_evaluations([make_evaluation_row(new, "E", 1.0, new.key)])
    [row] = evaluation_means(store).to_dict("records")
    assert (row["n_seeds"], row["test_error_mean"]) == (1, 1.0)
    for where in ({"model": "CNN"}, {"seed": [0, 1]}, {"on": "E"}, {"severity": 1}):
        assert len(evaluation_means(store, **where)) == 1
    old = evaluation_means(store, key=[seeds[0][0].key])  # which is asked for by its key
    assert old["test_error_mean"].tolist() == [9.0]


def test_severities_that_are_almost_equal_have_a_column_each(store: Store) -> None:
    store.commit([make_record(R, attempt="a")])
    severities = (1.2345671, 1.2345672)
    store.commit_evaluations(
        [make_evaluation_row(R, "E", 1.0, "a", severity=severity) for severity in severities]
    )
    assert [str(severity) in robustness(store) for severity in severities] == [True, True]


def test_filters_that_no_cell_matches_are_an_error(store: Store) -> None:
    fill(store, R)
    with pytest.raises(UserError, match="no cell matches model=Nope; model here: CNN"):
        transfer(store, model="Nope")
    assert robustness(store, on="E").startswith("No evaluations")


def test_numbers_of_numpy_are_filters(store: Store) -> None:
    fill(store, R)
    for filters in ({"worst_of": np.int64(10)}, {"severity": np.float32(2)}):
        assert len(evaluation_means(store, **filters)) == 1


def test_a_failed_evaluation_is_no_number(store: Store) -> None:
    store.commit([make_record(R, attempt="a")])
    store.commit_evaluations([make_evaluation_row(R, "E", None, "a")])
    assert ["CNN", "none", "R", "failed"] in lines(transfer(store))


def test_another_data_set_has_a_table_of_its_own(store: Store) -> None:
    fill(store, R)
    store.commit_evaluations([make_evaluation_row(R, "E", 9.0, R.key, dataset="mnist")])
    titles = [line for line in transfer(store).splitlines() if line.startswith("digits")]
    assert titles == ["digits, recipe smoke", "digits, recipe smoke, tested on mnist"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_every_number(store: Store, form: str) -> None:
    fill(store, R)
    for text in (transfer(store, form), robustness(store, form)):
        assert text.endswith("\n")
        for error in (1, 2):
            assert f"{error}.0" in text


def test_csv_has_a_line_for_each_entry(store: Store) -> None:
    fill(store, R)
    rows = list(csv.DictReader(io.StringIO(robustness(store, "csv"))))
    assert len(rows) == 5
    assert rows[1]["on"] == "R"
    assert {row["severity"] for row in rows} == {"0.0", "1.0", "2.0"}


def test_no_evaluations_are_said_and_an_unknown_format_is_refused(store: Store) -> None:
    assert transfer(store) == "No evaluations: `stn-cluster evaluate` makes them.\n"
    with pytest.raises(UserError, match="unknown format 'pdf'"):
        robustness(store, "pdf")
