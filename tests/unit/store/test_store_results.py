"""Which of the store's rows a reader is given, in what order, and how to choose among them."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell, make_record

from stn_cluster import UserError, load_results
from stn_cluster.store import Record, Store, select

attempts = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=8
)  # (which cell, succeeded, a new commit begins)


@settings(max_examples=25, deadline=None)
@given(history=attempts)
def test_results_keep_the_newest_succeeded_row_or_else_the_newest_failed(
    history: list[tuple[int, bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store.open(tmp_path_factory.mktemp("store"), create=True)
    expected: dict[str, Record] = {}
    group: list[Record] = []
    for seed, succeeded, commits in history:
        record = make_record(make_cell(seed=seed), error=1.0 if succeeded else None)
        key = record.row["key"]
        if succeeded or key not in expected or expected[key].row["status"] == "failed":
            expected[key] = record
        group.append(record)
        if commits:
            store.commit(group)
            group = []
    store.commit(group)

    found = load_results(store)
    assert dict(zip(found["key"], found["attempt"], strict=True)) == {
        key: record.row["attempt"] for key, record in expected.items()
    }
    assert len(store.results(latest=False)) == len(history)


def test_counts_stay_whole_numbers_beside_a_failed_cell(store: Store) -> None:
    store.commit([make_record(), make_record(make_cell(seed=1), error=None)])
    assert store.results()["n_wrong"].tolist() == [3, pd.NA]
    assert store.results().to_dict("records")[0]["n_test"] == 200


def test_rows_come_in_the_order_of_the_papers_table(store: Store) -> None:
    wanted = [
        ("CNN", "none", "R", 0),
        ("ST-CNN", "affine", "R", 0),
        ("ST-CNN", "affine", "R", 10),
        ("ST-CNN", "affine", "P", 0),
        ("ST-CNN", "affine", "P:xy", 0),
        ("ST-CNN", "tps", "R", 0),
        ("ST-CNN", "tps", "E", 0),
        ("ST-CNN", "tps", "blur", 0),
        ("ABC", "none", "R", 0),
    ]
    for names in reversed(wanted):
        store.commit([make_record(make_cell(*names))])
    frame = store.results()[["model", "transform", "distortion", "seed"]]
    assert list(frame.itertuples(index=False, name=None)) == wanted


def test_filters_choose_by_equality_or_membership(store: Store) -> None:
    models = ("FCN", "CNN")
    store.commit([make_record(make_cell(model, seed=s)) for model in models for s in range(3)])
    assert set(load_results(store.uri, model="CNN")["model"]) == {"CNN"}
    assert list(load_results(store, model="CNN", seed=[0, 2])["seed"]) == [0, 2]
    assert len(load_results(store, status="succeeded", dataset=("digits", "mnist"))) == 6
    assert len(load_results(store, recipe=None)) == 6
    assert len(load_results(store, seed=7)) == 0
    with pytest.raises(UserError, match=r"unknown filter 'modle': did you mean 'model'\?"):
        load_results(store, modle="CNN")


def test_a_filter_that_matches_nothing_says_what_there_is(store: Store) -> None:
    store.commit([make_record(make_cell("FCN")), make_record(make_cell("CNN"))])
    with pytest.raises(UserError, match="no cell matches model=ST-CNN, seed=0,1; model here: CNN"):
        select(store.results(), {"model": "ST-CNN", "seed": [0, 1]})
    assert len(select(store.results(), {"model": None})) == 2
