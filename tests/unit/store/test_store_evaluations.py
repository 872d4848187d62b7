"""Evaluations in a store: committed in groups, read with the names of their cells."""

from __future__ import annotations

import pytest
from support.records import TEST_SET, make_cell, make_evaluation_row, make_record

from stn_cluster.cluster.rows import stored_results
from stn_cluster.errors import StoreError, UserError
from stn_cluster.store import Store, count_due, load_evaluations

CELL = make_cell("ST-CNN", "tps", "R", seed=3)


@pytest.fixture
def trained(store: Store) -> Store:
    """A store with a cell, of whose attempt `a` there are three evaluations."""
    store.commit([make_record(CELL, attempt="a")])
    rows = [
        make_evaluation_row(CELL, "RTS"),
        make_evaluation_row(CELL, "RTS", 7.5, severity=2.0, worst_of=10),
        make_evaluation_row(CELL, "P:xy"),
    ]
    store.commit_evaluations(rows, [TEST_SET])
    return store


def test_rows_have_the_names_of_the_cell_and_of_the_test_set(trained: Store) -> None:
    rows = load_evaluations(trained)
    assert rows["on"].tolist() == ["RTS", "RTS", "P:xy"]
    assert rows["test_error"].tolist() == [2.5, 7.5, 2.5]
    first = rows.iloc[0].to_dict()
    assert (first["label"], first["trained_on"], first["seed"]) == (CELL.label, "R", 3)
    assert (first["distortion"], first["dataset"], first["recipe"]) == ("RTS", "digits", "smoke")
    assert "predictions" not in rows
    assert load_evaluations(trained, predictions=True)["predictions"][0].tolist() == [0, 1, 9]
    assert len(trained.read("test_sets")) == 1


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"model": "ST-CNN", "distortion": "R"}, 3),
        ({"model": "CNN"}, 0),
        ({"on": "RTS"}, 2),
        ({"on": ["RTS", "P:xy"], "severity": 1}, 2),
        ({"worst_of": 10}, 1),
        ({"seed": [3, 4], "status": "succeeded"}, 3),
    ],
)
def test_filters_are_of_the_cell_and_of_the_test_set(
    trained: Store, filters: dict[str, object], found: int
) -> None:
    assert len(load_evaluations(trained, **filters)) == found


def test_evaluations_of_an_earlier_attempt_are_due_until_they_are_computed_again(
    trained: Store,
) -> None:
    assert count_due(trained) == 0
    trained.commit([make_record(CELL, attempt="b")])
    assert (count_due(trained), count_due(trained, model="CNN")) == (3, 0)
    trained.commit_evaluations([make_evaluation_row(CELL, "RTS", attempt="b")])
    assert count_due(trained, model="ST-CNN") == 2


def test_an_unknown_filter_is_refused(trained: Store) -> None:
    with pytest.raises(UserError, match="unknown filter 'severty': did you mean 'severity'"):
        load_evaluations(trained, severty=2)


def test_those_of_an_earlier_attempt_are_left_out_and_the_newest_success_counts(
    trained: Store,
) -> None:
    trained.commit_evaluations([make_evaluation_row(CELL, "RTS", 4.0)])
    trained.commit_evaluations([make_evaluation_row(CELL, "RTS", None)])
    assert load_evaluations(trained, on="RTS", severity=1)["test_error"].tolist() == [4.0]
    trained.commit([make_record(CELL, attempt="b")])
    assert load_evaluations(trained).empty
    trained.commit_evaluations([make_evaluation_row(CELL, "RTS", None, attempt="b")])
    assert load_evaluations(trained)["status"].tolist() == ["failed"]


def test_times_increase_over_cells_and_evaluations_also_after_a_restart(trained: Store) -> None:
    again = Store.open(trained.uri)
    [cell] = again.commit([make_record(make_cell(seed=9))])
    [evaluation] = again.commit_evaluations([make_evaluation_row(CELL, "E")])
    times = trained.read("evaluations", columns=["accepted_at"])["accepted_at"].to_pylist()
    assert times == sorted(times)
    assert times[-2] < cell < evaluation == times[-1]


def test_the_queue_knows_what_stands(trained: Store) -> None:
    known = stored_results(trained)
    row = make_evaluation_row(CELL, "RTS")
    found = known.success(row["evaluation"])
    assert found is not None
    assert (found.attempt, found.weights_attempt, found.test_error) == (None, "a", 2.5)
    newest = trained.read("evaluations")["accepted_at"].cast("int64").to_pylist()[-1]
    assert known.watermark == newest


def test_a_row_that_is_not_the_schemas_is_refused_and_leaves_nothing(store: Store) -> None:
    row = make_evaluation_row()
    del row["ink_lost"]
    with pytest.raises(ValueError, match="columns missing or unknown: ink_lost"):
        store.commit_evaluations([row])
    assert len(store.read("evaluations")) == 0


def test_a_foreign_file_is_named(trained: Store) -> None:
    assert trained.local_path is not None
    (trained.local_path / "evaluations" / "x.parquet").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"evaluations/x\.parquet"):
        load_evaluations(trained)
