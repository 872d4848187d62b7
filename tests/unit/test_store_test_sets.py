"""Test sets: told once by whoever tests on them, and kept once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ledgers import HERE, Books, keep_books, make_predictions, wait_until
from packs import make_cells
from records import TEST_SET, make_cell, make_record

from stn_cluster import load_predictions
from stn_cluster.cluster import ledger as ledger_module
from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.intake import Intake
from stn_cluster.cluster.leases import Leases
from stn_cluster.cluster.ledger import Result
from stn_cluster.cluster.messages import Assignment, utc_now
from stn_cluster.cluster.record import Attempt, to_record, to_test_set
from stn_cluster.cluster.runner import Runner
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import StoreError
from stn_cluster.grid import Cell
from stn_cluster.store import Store
from stn_cluster.store.files import Files
from stn_cluster.training.outcome import Labels, Outcome

OTHER = TEST_SET | {"test_set": "f" * 16, "labels": [7, 7]}


def kept(store: Store) -> dict[str, list[int]]:
    """The labels of each; every one is there once."""
    rows = store.read("test_sets").to_pylist()
    found = {row["test_set"]: row["labels"] for row in rows}
    assert len(found) == len(rows)
    return found


# --- in the store ---


def test_a_test_set_is_written_with_the_first_result_and_once(any_store: Store) -> None:
    any_store.commit([make_record()], [TEST_SET, TEST_SET])
    any_store.commit([make_record(make_cell(seed=1))], [TEST_SET])
    reopened = Store.open(any_store.uri, create=True)
    reopened.commit([make_record(make_cell(seed=2))], [TEST_SET, OTHER])
    reopened.commit([make_record(make_cell(seed=3))])
    assert kept(reopened) == {TEST_SET["test_set"]: [0, 1, 4], OTHER["test_set"]: [7, 7]}
    [row] = (r for r in reopened.read("test_sets").to_pylist() if r["labels"] == [0, 1, 4])
    assert row == TEST_SET | {"schema_version": 2}
    names = [name for name in any_store._files.names("test_sets") if "schema" not in name]
    assert names == [f"test_sets/{row['test_set']}.parquet" for row in (TEST_SET, OTHER)]
    reopened.check()


def test_a_test_set_that_was_compacted_into_another_file_is_not_written_again(
    store: Store,
) -> None:
    store.commit([make_record()], [TEST_SET])
    assert store.local_path is not None
    folder = store.local_path / "test_sets"
    (folder / f"{TEST_SET['test_set']}.parquet").rename(folder / "2026-all.parquet")
    reopened = Store.open(store.uri, create=True)
    reopened.commit([make_record(make_cell(seed=1))], [TEST_SET])
    assert kept(reopened) == {TEST_SET["test_set"]: [0, 1, 4]}


def test_a_test_set_whose_commit_failed_is_written_when_it_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Files.write

    def full_disk(self: Files, name: str, content: bytes) -> None:
        if name.startswith("cells/"):
            raise StoreError(f"{name}: cannot be written: No space left on device")
        write(self, name, content)

    record = make_record()
    monkeypatch.setattr(Files, "write", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        store.commit([record], [TEST_SET])
    assert kept(store) == {}
    monkeypatch.undo()
    store.commit([record], [TEST_SET])
    assert kept(store) == {TEST_SET["test_set"]: [0, 1, 4]}


# --- in the coordinator ---


def make_labels(test_set: str = "0123456789abcdef") -> Labels:
    classes = np.array([0, 1, 4], "<u2").tobytes()
    return Labels(test_set=test_set, dataset="digits", revision="2", repeats=1, classes=classes)


def outcome_of(books: Books, number: int, labels: Labels | None) -> Outcome:
    outcome = books.result(number).outcome
    return Outcome(
        key=outcome.key, n_test=3, n_wrong=1, predictions=make_predictions(), labels=labels
    )


def test_labels_that_are_told_once_are_kept_with_the_results_that_go_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "GROUP", 1)

    async def keep() -> None:
        async with keep_books(tmp_path, cells=3) as books:
            books.ledger.note(make_labels())
            for number in range(3):
                books.ledger.add(Result(books.running[number], outcome_of(books, number, None)))
            books.ledger.note(make_labels())  # another worker's
            await wait_until(lambda: len(books.committed) == 3)
            assert kept(books.store) == {"0123456789abcdef": [0, 1, 4]}
            files = sorted((books.path / "test_sets").iterdir())
            assert [file.name for file in files] == [
                *("0-schema.parquet", "0123456789abcdef.parquet")
            ]

    asyncio.run(keep())


def test_labels_of_a_refused_result_are_not_lost_to_those_after_it(tmp_path: Path) -> None:
    """A worker tells them once a pack, and does not know that nobody wants that result."""

    async def keep() -> None:
        async with keep_books(tmp_path) as books:
            unused: Any = None
            intake = Intake(Leases(60, 5), unused, books.ledger, unused, unused)
            intake._take("w", "given up", outcome_of(books, 0, make_labels()))
            assert books.ledger.waiting == 0
            books.ledger.add(Result(books.running[0], outcome_of(books, 0, None)))
            await books.ledger.close(60)
            assert kept(books.store) == {"0123456789abcdef": [0, 1, 4]}

    asyncio.run(keep())


# --- in a worker ---


def trained(store: Store, cells: Sequence[Cell]) -> list[Outcome]:
    """What a worker says of a pack, in the order in which it says it."""
    runner = Runner(Settings(store=store.uri, state="unused"), "cpu")
    pack = tuple(Assignment(cell, f"attempt-{n}") for n, cell in enumerate(cells))
    return [o for report in runner.train(pack, AttemptLog()) for o in report.ended.values()]


def test_a_worker_tells_the_labels_of_a_test_set_once_in_each_pack(store: Store) -> None:
    cells = make_cells(models=["FCN"], distortions=["R", "E"], seeds=[0, 1, 2])
    for _ in range(2):
        told = trained(store, cells)
        assert len(told) == 6
        firsts: dict[str, Outcome] = {}
        for outcome in told:
            assert outcome.predictions is not None
            firsts.setdefault(outcome.predictions.test_set, outcome)
        assert len(firsts) == 2
        assert [o for o in told if o.labels is not None] == list(firsts.values())
        for name, outcome in firsts.items():
            assert outcome.labels is not None
            assert outcome.labels.test_set == name


def test_what_a_worker_tells_comes_to_the_predictions_that_are_loaded(store: Store) -> None:
    cells = make_cells(models=["FCN"], distortions=["R", "E"], seeds=[0, 1])
    told = {outcome.key: outcome for outcome in trained(store, cells)}
    records = [
        to_record(Attempt("j", cell, f"a{number}", utc_now(), HERE, 4), told[cell.key])
        for number, cell in enumerate(cells)
    ]
    labels = [to_test_set(o.labels) for o in told.values() if o.labels is not None]
    store.commit(records, labels)

    found = load_predictions(store.uri)
    assert len(found) == 4 * 3600
    wrong = found["true_class"] != found["predicted_class"]
    by_key = wrong.groupby(found["key"]).sum().to_dict()
    assert by_key == {cell.key: told[cell.key].n_wrong for cell in cells}
    assert (found["confidence"] >= found["second_confidence"]).all()
    assert (found["confidence"] + found["second_confidence"] <= 1 + 2 / 65_535).all()
    assert (found["predicted_class"] != found["second_class"]).all()
    assert list(found.groupby("key")["image"].max()) == [3599] * 4
    one = load_predictions(store, distortion="E", seed=1)
    assert set(one["label"]) == {"FCN/none/E/seed1"}
    whole = found[found["label"] == "FCN/none/E/seed1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(one, whole)


def test_predictions_of_nothing_have_the_same_columns(store: Store) -> None:
    empty = load_predictions(store)
    store.commit([make_record(), make_record(make_cell(seed=1), error=None)], [TEST_SET])
    some = load_predictions(store)
    assert empty.empty
    assert empty.dtypes.to_dict() == some.dtypes.to_dict()
    assert list(some["true_class"]) == [0, 1, 4]
    assert list(some["predicted_class"]) == [0, 1, 9]
    assert some["confidence"].tolist() == pytest.approx([1.0, 40_000 / 65_535, 30_000 / 65_535])
    assert load_predictions(store, seed=1).empty
