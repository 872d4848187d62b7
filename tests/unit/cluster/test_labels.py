"""Labels of test sets: a worker reports them once per pack, the coordinator stores them once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from support.packs import make_cells
from support.records import make_cell
from support.result_writers import result_writer, wait_until
from support.schedulers import scheduler
from support.workers import HERE

from stn_cluster import load_predictions
from stn_cluster.cluster import result_writer as module
from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.pack_runner import PackRunner
from stn_cluster.cluster.rows import to_record, to_test_set
from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import Cell
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.store import Store
from stn_cluster.training.outcome import Labels, Outcome

NAME = "0123456789abcdef"  # of the test set whose predictions the results have


def make_labels() -> Labels:
    classes = np.array([0, 1, 4], "<u2").tobytes()
    return Labels(test_set=NAME, dataset="digits", revision="2", repeats=1, classes=classes)


def kept(store: Store) -> list[tuple[str, list[int]]]:
    """The test sets of a store."""
    return [(row["test_set"], row["labels"]) for row in store.read("test_sets").to_pylist()]


# --- the coordinator ---


@pytest.mark.anyio
async def test_labels_that_are_told_once_are_kept_with_the_results_that_go_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP", 1)
    async with result_writer(tmp_path, cells=3) as writer:
        writer.results.add_labels(make_labels())
        for number in range(3):
            writer.results.add(writer.result(number))
        writer.results.add_labels(make_labels())  # another worker's
        await wait_until(lambda: len(writer.committed) == 3)
        assert kept(writer.store) == [(NAME, [0, 1, 4])]
        files = sorted(file.name for file in (writer.path / "test_sets").iterdir())
        assert files == ["0-schema.parquet", f"{NAME}.parquet"]


@pytest.mark.anyio
async def test_labels_are_kept_though_the_store_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    async with result_writer(tmp_path, cells=2) as writer:
        away = writer.path.rename(tmp_path / "away")
        writer.results.add_labels(make_labels())
        writer.results.add(writer.result(0))
        await wait_until(lambda: writer.results.degraded_reason)
        away.rename(writer.path)
        writer.results.add(writer.result(1))
        await writer.results.close(60)
        assert kept(writer.store) == [(NAME, [0, 1, 4])]


@pytest.mark.anyio
async def test_labels_of_a_refused_result_are_not_lost_to_those_after_it(tmp_path: Path) -> None:
    """A worker tells them once a pack, and does not know that nobody wants that result."""
    async with scheduler(tmp_path, workers=1) as at:
        await at.submit(make_cell())
        worker = await at.worker()
        late = Outcome(key="k", n_test=3, n_wrong=1, labels=make_labels())
        assert at.report(worker, ended={"given up": late}) == set()
        at.finish(worker)
        await wait_until(lambda: at.committed)
        assert len(at.rows()) == 1
        assert kept(at.store) == [(NAME, [0, 1, 4])]


# --- workers ---


def make_attempt(cell: Cell) -> Attempt:
    return Attempt(str(uuid4()), cell, "j", pack_size=1, worker=HERE, started_at=utc_now())


def trained(store: Store, cells: Sequence[Cell]) -> list[Outcome]:
    """Outcomes that a worker reports for a pack, in their order."""
    runner = PackRunner(Settings(store=store.uri, state="unused"), "cpu")
    pack = [make_attempt(cell) for cell in cells]
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
    records = [to_record(make_attempt(cell), told[cell.key]) for cell in cells]
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
