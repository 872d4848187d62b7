"""Evaluations in the cluster's parts: a worker's packs, their results, the room that they take."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from support.evaluated import wanted, weights_of
from support.packs import make_cells
from support.queues import evaluations
from support.records import make_cell
from support.result_writers import result_writer, wait_until
from support.stored import train_into
from support.workers import HERE

from stn_cluster.cluster import pack_runner as module
from stn_cluster.cluster import preparation
from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.make_evaluations import evaluations_of
from stn_cluster.cluster.pack_runner import PackRunner
from stn_cluster.cluster.placement import EVALUATION_PACK, largest_pack
from stn_cluster.cluster.preparation import check_components
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.result_writer import Result
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import parse_config
from stn_cluster.errors import StoreError, UserError
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.queue.jobs import CellState
from stn_cluster.registry import resolve
from stn_cluster.store import Store
from stn_cluster.store.stored_checkpoints import Checkpoints
from stn_cluster.training.outcome import Labels, Outcome, Predictions


@pytest.fixture
def trained(store: Store) -> Store:
    """A store with two trained cells of one stream."""
    cells = make_cells(models=["FCN", "CNN"], distortions=["R"], recipe={"iterations": 2})
    train_into(store, cells)
    return store


def attempts(store: Store, **fields: Any) -> list[Attempt]:
    """Attempts at evaluations of a store's cells: `e0`, `e1` ..."""
    asked = wanted(store, **fields)
    weights = weights_of(store, asked)
    return [
        Attempt(
            f"e{number}",
            one.cell,
            "j",
            len(asked),
            HERE,
            utc_now(),
            evaluation=one,
            weights_attempt=weights[one.key],
        )
        for number, one in enumerate(asked)
    ]


def ended(reports: list[Report]) -> dict[str, Outcome]:
    return {attempt: outcome for r in reports for attempt, outcome in r.ended.items()}


def test_a_pack_of_evaluations_is_reported_with_the_labels_of_each_test_set_once(
    trained: Store,
) -> None:
    runner = PackRunner(Settings(store=trained.uri, state="state"), "cpu")
    pack = attempts(trained, on=("clean", "E"))
    first, *_ = reports = list(runner.train(pack, AttemptLog()))
    assert first.started == dict.fromkeys(["e0", "e1", "e2", "e3"], 0)
    outcomes = ended(reports)
    assert {a.id: outcomes[a.id].key for a in pack} == {a.id: a.item.key for a in pack}
    assert all(outcome.error is None for outcome in outcomes.values())
    labels = [outcome.labels for outcome in outcomes.values() if outcome.labels]
    assert len(labels) == len({one.test_set for one in labels}) == 2
    assert reports[-1].steps == {}


def test_a_stopped_pack_reports_what_has_ended_and_a_dropped_evaluation_nothing(
    trained: Store,
) -> None:
    runner = PackRunner(Settings(store=trained.uri, state="state"), "cpu")
    pack = attempts(trained, on=("E", "RTS"))
    runner.drop({"e3"})
    seen = []
    for report in runner.train(pack, AttemptLog()):
        seen.append(report)
        if report.ended:
            runner.stop()
    assert set(ended(seen)) == {"e0", "e2"}  # both are on E
    assert report.saved == {}


def test_a_store_that_is_away_for_a_while_is_waited_for(
    trained: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_RETRY_SECONDS", 0.01)
    failures = ["away", "away"]
    read = Checkpoints.read

    def flaky(self: Checkpoints, *names: str) -> bytes | None:
        if failures:
            raise StoreError(failures.pop())
        return read(self, *names)

    monkeypatch.setattr(Checkpoints, "read", flaky)
    runner, log = PackRunner(Settings(store=trained.uri, state="state"), "cpu"), AttemptLog()
    [outcome] = ended(list(runner.train(attempts(trained, on="E")[:1], log))).values()
    assert outcome.error is None
    assert "waits for the store: away" in log.take()["e0"]


def test_a_pack_that_is_stopped_while_the_store_is_away_reports_no_failures(
    trained: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_RETRY_SECONDS", 0.01)
    runner = PackRunner(Settings(store=trained.uri, state="state"), "cpu")

    def away(self: object, *names: object) -> bytes | None:
        runner.stop()
        raise StoreError("away")

    monkeypatch.setattr(Checkpoints, "read", away)
    monkeypatch.setattr(Store, "predicted_classes", away)
    pack = attempts(trained, on=("R", "E"))
    assert ended(list(runner.train(pack, AttemptLog()))) == {}


# --- results ---


def outcome_of(attempt: Attempt, error: str | None = None) -> Outcome:
    if error is not None:
        return Outcome(key=attempt.item.key, error=error)
    assert attempt.evaluation is not None
    test_set = attempt.evaluation.test.name
    predictions = Predictions(
        test_set=test_set,
        n_classes=10,
        first=bytes([1, 2]),
        second=b"",
        confidence=b"",
        second_confidence=b"",
    )
    labels = Labels(test_set=test_set, dataset="digits", revision="1", repeats=1, classes=bytes(4))
    return Outcome(
        key=attempt.item.key,
        predictions=predictions,
        labels=labels,
        n_test=2,
        n_wrong=1,
        measures={"ink_lost": 0.5, "pose_degrees": 3.0},
    )


@pytest.mark.anyio
async def test_cells_and_evaluations_that_come_together_are_stored_each_in_its_place(
    tmp_path: Path,
) -> None:
    async with result_writer(tmp_path, cells=2) as writer:
        writer.results.add(writer.result(0))
        await wait_until(lambda: not writer.results.pending)
        await writer.submit(
            job_id="e", evaluations=evaluations(make_cell(seed=0), on=("E", "RTS", "P"))
        )
        three = [await writer.claim() for _ in range(3)]
        writer.results.add(Result(three[0], outcome_of(three[0])))
        writer.results.add(writer.result(1))
        writer.results.add(Result(three[1], outcome_of(three[1], "ValueError: no")))
        for one in (three[0], three[1]):
            writer.results.add_labels(outcome_of(one).labels)  # type: ignore[arg-type]
        await writer.results.close(60)
        assert writer.states() == [CellState.SUCCEEDED] * 2
        rows = writer.store.read("evaluations").to_pylist()
        assert [row["status"] for row in rows] == ["succeeded", "failed"]
        first, failed = rows
        assert (first["attempt"], first["key"]) == (writer.running[0].id, make_cell(seed=0).key)
        assert (first["ink_lost"], first["pose_degrees"], first["identity_degrees"]) == (
            *(0.5, 3.0, None),
        )
        assert (first["predictions"], failed["predictions"]) == ([1, 2], None)
        assert failed["error"] == "ValueError: no"
        assert len(writer.store.read("test_sets")) == 2
        assert len(writer.rows()) == 2  # none in cells
        assert writer.known.success(three[0].item.key) is not None


# --- before anything starts ---


def test_a_pack_of_evaluations_is_large_as_they_share_networks_and_images() -> None:
    [one] = evaluations(make_cell())
    assert largest_pack(one, gpu=False) == largest_pack(one, gpu=True) == EVALUATION_PACK


SOURCE = """
from stn_cluster import register_distortion

class Darker:
    canvas = 28

    def draw(self, rng, n):
        return rng.uniform(0.5, 1, (n, 1))

    def apply(self, images, parameters):
        return images * parameters.view(-1, 1, 1, 1)

class Scalable(Darker):
    def scaled(self, parameters, severity):
        return parameters ** severity

register_distortion("darker")(lambda variant, canvas: Darker())
register_distortion("scalable")(lambda variant, canvas: Scalable())
"""


def test_a_severity_that_a_plug_in_does_not_know_is_told_before_workers_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PREFLIGHT_SECONDS", 250.0)
    (tmp_path / "darker_plugin.py").write_text(SOURCE)
    importlib.invalidate_caches()
    fields = {"plugins": ["darker_plugin"], "models": ["FCN"], "recipe": "smoke"}
    config = parse_config({**fields, "distortions": ["R", "darker", "scalable"]})
    try:
        cells = resolve(config, folder=tmp_path)
        on_r, of_darker, of_scalable = (
            evaluations_of([cell], Evaluate(on=("clean", "darker", "scalable@2"))) for cell in cells
        )
        assert on_r[1].plugins == ("darker_plugin",)
        check_components((), None, on_r)
        check_components((), None, of_scalable)
        with pytest.raises(UserError, match=r"'darker' has no `scaled\(.*severity 0 is not"):
            check_components((), None, of_darker)
        with pytest.raises(UserError, match=r"'darker' has no `scaled\(.*severity 2 is not"):
            check_components((), None, evaluations_of(cells[:1], Evaluate(on=("darker@2",))))
    finally:
        sys.modules.pop("darker_plugin", None)
