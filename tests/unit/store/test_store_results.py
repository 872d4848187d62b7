"""Which of the store's rows a reader is given, in what order, and how to choose among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell, make_record

from stn_cluster import UserError, comparison_table, load_results
from stn_cluster.cluster.make_jobs import cells_to_rerun
from stn_cluster.registry import components
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


# --- under which names ---


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes `frame` the plain reading of RTS, as it is now; an older version had the other one."""
    entry = components.lookup("distortion", "RTS")
    older = replace(entry, variants=(("plain", 42), ("frame", 42)))
    monkeypatch.setitem(components._entries, ("distortion", "RTS"), older)

    def rename() -> None:
        monkeypatch.setitem(components._entries, ("distortion", "RTS"), entry)

    return rename


READINGS = ["RTS", "RTS:frame", "RTS:60", "RTS:frame-60"]


def test_a_reading_that_is_not_the_plain_one_any_more_is_shown_by_its_own_name(
    store: Store, renamed: Callable[[], None]
) -> None:
    cells = [make_cell(distortion=distortion) for distortion in [*READINGS, "P:xy", "R"]]
    records = [make_record(cell, error=number) for number, cell in enumerate(cells)]
    records[0].row["spec"] = cells[0].model_dump_json()  # without blanks, as it is really written
    store.commit(records)
    before = load_results(store).sort_values("test_error")
    assert list(before["distortion"]) == [*READINGS, "P:xy", "R"]
    renamed()
    after = load_results(store).sort_values("test_error")
    now = ["RTS:rotated-frame", "RTS", "RTS:rotated-frame-60", "RTS:60", "P:xy", "R"]
    assert list(after["distortion"]) == now
    assert list(after["label"]) == [f"CNN/none/{distortion}/seed0" for distortion in now]
    assert list(after["key"]) == list(before["key"]) == [cell.key for cell in cells]
    # whoever reads, and by whichever columns
    names = dict(zip(after["key"], now, strict=True))
    for columns in (["key", "distortion"], ["key", "label"], ["distortion", "spec", "key"]):
        rows = store.read("cells", columns)
        assert rows.schema.names == columns
        for row in rows.to_pylist():
            assert row.get("distortion", names[row["key"]]) == names[row["key"]]
            assert names[row["key"]] in row.get("label", names[row["key"]])
    assert [t["test_error"].to_pylist() for t in store.scan({"distortion": "RTS"})] == [[1.0]]
    assert load_results(store, distortion="RTS:rotated-frame")["test_error"].tolist() == [0.0]
    table = comparison_table(store, distortion=["RTS", "RTS:rotated-frame"])
    assert list(table["test_error_mean"]) == [1.0, 0.0]
    assert set(table["reference_error"]) == {0.8}  # the letter's


def test_what_was_submitted_and_what_is_run_again_have_present_names_too(
    store: Store, renamed: Callable[[], None]
) -> None:
    waiting, ended = make_cell(distortion="RTS"), make_cell(distortion="RTS", seed=1)
    store.write_job("j", {"cells": [waiting.model_dump(mode="json")]})
    store.commit([make_record(ended)])
    renamed()
    assert [(cell.distortion, cell.key) for cell in store.submitted()] == [
        ("RTS:rotated-frame", waiting.key)
    ]
    again = cells_to_rerun(store, {"distortion": "RTS:rotated-frame"})
    assert {cell.label for cell in again} == {
        f"CNN/none/RTS:rotated-frame/seed{seed}" for seed in (0, 1)
    }
    with pytest.raises(UserError, match="no cell matches distortion=RTS"):
        cells_to_rerun(store, {"distortion": "RTS"})


def test_a_distortion_that_is_not_registered_here_keeps_its_name(store: Store) -> None:
    store.commit([make_record(make_cell(distortion=name)) for name in ("blur", "blur:strong")])
    odd = make_record(make_cell(distortion="RTS"), spec='{"variant": "mine", "canvas": 42}')
    store.commit([odd, make_record(make_cell(distortion="RTS", seed=1), spec="not JSON")])
    assert list(load_results(store)["distortion"]) == ["RTS", "RTS", "blur", "blur:strong"]
