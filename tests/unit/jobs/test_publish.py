"""What is copied from a run's store into a published one, at each stop of the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import publish
import pytest
import typer
from support.records import TEST_SET, make_evaluation_row
from support.stored import train_into

from stn_cluster import load_evaluations, load_model, load_predictions, load_results
from stn_cluster.config_file import load_config
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.store import SCHEMAS, Store, is_published

CONFIG = """
dataset: digits
recipe: {name: smoke, iterations: 3}
models: [FCN]
distortions: [R, E]
seeds: [0, 1]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def of_seed(config: Path, seed: int) -> list[Cell]:
    return [cell for cell in resolve(load_config(config)) if cell.seed == seed]


def test_each_stop_adds_what_has_finished_since(config: Path, tmp_path: Path) -> None:
    run, published = Store.open(tmp_path / "run", create=True), tmp_path / "published"
    for seed in (0, 1):
        train_into(run, of_seed(config, seed), f"of{seed}-")
        publish.main(config, tmp_path / "run", published, weights_of=[0])
        before = sorted(published.glob("*/*.parquet"))
        publish.main(config, tmp_path / "run", published, weights_of=[0])  # adds nothing
        assert sorted(published.glob("*/*.parquet")) == before
        found = Store.open(published)
        for kind in SCHEMAS:
            assert len(found.read(kind)) == len(run.read(kind))
        assert load_results(found).equals(load_results(run))
        assert load_predictions(found).equals(load_predictions(run))
        manifest = json.loads((published / "manifest.json").read_text())
        assert (manifest["cells"], len(manifest["missing"])) == (2 * seed + 2, 2 - 2 * seed)
        assert is_published(published)
    weights = sorted(path.name for path in (published / "weights").iterdir())
    assert weights == sorted(f"{cell.key}.safetensors" for cell in of_seed(config, 0))
    for cell in of_seed(config, 0):
        kept, copied = (load_model(store, cell.key).state_dict() for store in (run, found))
        assert kept.keys() == copied.keys()
        assert all(kept[name].equal(copied[name]) for name in kept)


def test_a_call_that_was_cut_off_is_completed_by_the_next(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, published = Store.open(tmp_path / "run", create=True), tmp_path / "published"
    cells = of_seed(config, 0)
    train_into(run, cells)
    calls: list[str] = []

    def cut_off(name: str, at: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if calls.count(name) == at:
                raise KeyboardInterrupt
            return call(*arguments, **options)

        return called

    points = [("add", Store, "add", at) for at in (1, 2, 3, 4)]
    points += [("export", publish, "export_model", at) for at in (1, 2)]
    for name, owner, attribute, at in points:
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, cut_off(name, at, getattr(owner, attribute)))
            with pytest.raises(KeyboardInterrupt):
                publish.main(config, tmp_path / "run", published, weights_of=[0])
        publish.main(config, tmp_path / "run", published, weights_of=[0])
        found = Store.open(published)
        for kind in SCHEMAS:
            assert len(found.read(kind)) == len(run.read(kind))
        assert load_predictions(found).equals(load_predictions(run))
        assert found.weights.keys() == {cell.key for cell in cells}
        assert not [
            path
            for path in published.iterdir()
            if path.name.startswith("tmp") and any(path.iterdir())
        ]
        shutil.rmtree(published)


def test_weights_come_later_if_they_are_asked_for_later(config: Path, tmp_path: Path) -> None:
    run, published = Store.open(tmp_path / "run", create=True), tmp_path / "published"
    train_into(run, of_seed(config, 0))
    publish.main(config, tmp_path / "run", published)
    assert not Store.open(published).weights.keys()
    publish.main(config, tmp_path / "run", published, weights_of=[0])
    assert len(Store.open(published).weights.keys()) == 2


def test_nothing_is_published_of_a_run_without_a_result(config: Path, tmp_path: Path) -> None:
    Store.open(tmp_path / "run", create=True)
    with pytest.raises(typer.BadParameter, match="has no result of"):
        publish.main(config, tmp_path / "run", tmp_path / "published")
    assert not is_published(tmp_path / "published")


def test_evaluations_come_with_their_cells_and_test_sets(config: Path, tmp_path: Path) -> None:
    run, published = Store.open(tmp_path / "run", create=True), tmp_path / "published"
    one, other = of_seed(config, 0)
    train_into(run, [one, other])
    attempts = load_results(run).set_index("key")["attempt"]

    def evaluate(cell: Cell, on: str, error: float | None) -> None:
        row = make_evaluation_row(cell, on, error, attempts[cell.key])
        run.commit_evaluations([row], [{**TEST_SET, "test_set": row["test_set"]}])

    evaluate(one, "E", 2.5)
    evaluate(one, "P", None)  # failed
    publish.main(config, tmp_path / "run", published)
    evaluate(one, "P", 3.5)
    evaluate(other, "E", 1.5)
    for _ in range(2):  # the second time adds nothing
        publish.main(config, tmp_path / "run", published)
        found = Store.open(published)
        assert load_evaluations(found, predictions=True).equals(
            load_evaluations(run, predictions=True)
        )
        rows = found.read("evaluations").to_pylist()
        assert [(row["key"], row["distortion"], row["status"]) for row in rows] == [
            (one.key, "E", "succeeded"),
            (one.key, "P", "succeeded"),
            (other.key, "E", "succeeded"),
        ]
        tested = {row["test_set"] for row in rows}
        assert tested < set(found.read("test_sets")["test_set"].to_pylist())
