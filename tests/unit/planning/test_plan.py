"""`plan`: what a store has, what the rest takes, and what the numbers will be able to say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from statsmodels.stats.proportion import proportion_confint
from support.coloured import write_discs
from support.records import make_evaluation_row, make_record
from support.refusals import Command, assert_refused, everything, make_command

from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.config_file import parse_config
from stn_cluster.grid import Cell
from stn_cluster.planning import forecast
from stn_cluster.planning.plan import plan_grid
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.store import Store
from stn_cluster.training.building import build_model

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke.yaml"
MNIST = ROOT / "results" / "mnist-v1"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def no_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was calibrated")

    monkeypatch.setattr("stn_cluster.planning.calibration.calibrate", refuse)


def cells(**fields: Any) -> list[Cell]:
    return resolve(parse_config({"recipe": "smoke", "models": ["FCN", "CNN"], **fields}))


def history(store: Store, chosen: Sequence[Cell], seconds: float, **row: Any) -> None:
    store.commit([make_record(cell, train_seconds=seconds, **row) for cell in chosen])


@pytest.mark.usefixtures("no_calibration")
def test_what_a_store_has_is_not_trained_and_the_rest_takes_what_it_took(store: Store) -> None:
    first, more = cells(), cells(seeds=[0, 1, 2])
    history(store, first[:-1], 100.0)
    history(store, first[-1:], 100.0, device="cpu")
    plan = plan_grid(more, store.uri, workers=4)
    assert (plan.cells, plan.stored, plan.to_train, plan.failed) == (24, 8, 16, 0)
    assert plan.worker_seconds == pytest.approx(1600)
    assert plan.wall_seconds == pytest.approx(400)
    assert plan.sources == {"history": 16}
    assert plan.devices == {"history": "cpu"}
    assert plan.seeds == 3
    assert plan.bytes == pytest.approx(16 * (4 * 1000 + 6 * 200 + forecast.OTHER_BYTES))
    assert plan.free_bytes == pytest.approx(shutil.disk_usage(store.uri).free, rel=0.1)
    few = plan_grid(cells(seeds=[0, 7]), store.uri, workers=100)
    assert few.wall_seconds == pytest.approx(100)  # no cell is shared by workers


@pytest.mark.usefixtures("no_calibration")
def test_another_recipe_of_a_known_model_takes_time_by_its_cost(store: Store) -> None:
    history(store, cells(), 100.0)
    longer = cells(recipe={"name": "smoke", "iterations": 80})
    assert plan_grid(longer, store.uri, workers=1).worker_seconds == pytest.approx(
        8 * 1000, rel=0.3
    )


@pytest.mark.usefixtures("no_calibration")
def test_failed_cells_are_trained_again_and_old_devices_do_not_count(store: Store) -> None:
    known = cells()
    history(store, known, 1000.0, device="an old one")
    history(store, cells(seeds=[1]), 10.0, device="a new one")
    failed = cells(seeds=[2])[:3]
    store.commit([make_record(cell, error=None) for cell in failed])
    plan = plan_grid(cells(seeds=[2]), store.uri, workers=1)
    assert (plan.stored, plan.failed, plan.to_train) == (0, 3, 8)
    assert plan.worker_seconds == pytest.approx(80)
    assert plan.devices == {"history": "a new one"}


@pytest.mark.usefixtures("no_calibration")
def test_evaluations_are_counted_apart(store: Store, command: Command, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "{recipe: smoke, models: [FCN], evaluate: {on: [clean, E], severity: [1, 2]}}"
    )
    history(store, [cell for cell in cells() if cell.model == "FCN"], 10.0)
    job = grid_job(config)
    assert len(job.evaluations) == 4 * 3
    attempts = {row["key"]: row["attempt"] for row in store.results().to_dict("records")}
    first = job.evaluations[0]
    row = make_evaluation_row(first.cell, "E", attempt=attempts[first.cell.key])
    store.commit_evaluations([row | {"evaluation": first.key}])
    told = command("plan", config, "--store", store.uri)
    assert "evaluated  12 evaluations: 1 stored, 11 to compute\n" in told.out
    more = command("plan", config, "--store", store.uri, "--set", "seeds=[0, 1]").out
    assert "24 evaluations: 1 stored, 23 to compute, which neither time nor disk include" in more
    of_store = tmp_path / "of-store.yaml"  # those of the store that is named
    of_store.write_text("{name: x, evaluate: {of: store, on: [E]}}")
    told = command("plan", of_store, "--store", store.uri, "--format", "json")
    found = json.loads(told.out)
    assert (found["cells"], found["evaluations"]) == (0, 4)
    assert_refused(command("plan", of_store, "--store", tmp_path / "none"), "no result store here")


def test_a_new_store_is_planned_by_a_calibration_that_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "CALIBRATION_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    told = command("plan", SMOKE, "--format", "json", "--set", "models=[FCN, CNN]")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert (found["cells"], found["to_train"]) == (8, 8)
    assert found["store"] == "results/smoke"
    assert found["sources"] == {"calibration": 8}
    assert 0 < found["worker_seconds"] < 600
    assert found["bytes"] > 8 * (50_000 + 3600 * 6)
    (images,) = found["images"]
    assert (images["dataset"], images["n"], images["base_images"]) == ("digits", 3600, 360)
    assert everything(tmp_path) == {".": None}


@pytest.mark.usefixtures("no_calibration")
def test_widths_are_those_of_the_intervals_that_the_grid_will_have(command: Command) -> None:
    config = ROOT / "configs" / "mnist-v1.yaml"
    before = everything(MNIST)
    told = command("plan", config, "--store", MNIST, "--set", "seeds=[0, 1]", "--workers", "2")
    assert told.code == 0, told.err
    assert everything(MNIST) == before
    low, high = proportion_confint(100, 10_000, method="wilson")
    assert f"error of 1 %: ±{100 * (high - low) / 2:.2f}; " in told.out
    assert "differences of two such networks: from 0.22 on" in told.out
    assert "64: 32 stored, 32 to train" in told.out
    assert "(published: train into another)" in told.out
    assert "this store's history, on AMD EPYC" in told.out
    assert "2, which say nothing about the methods" in told.out
    assert "2.3 h with 2 workers (4.7 h of one)" in told.out
    three = command("plan", config, "--store", MNIST, "--set", "seeds=[0, 1, 2]").out
    assert "3: methods can be compared" in three


def test_a_model_that_cannot_be_trained_is_counted_and_the_others_are_planned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stn_cluster import register_model

    monkeypatch.setattr(forecast, "CALIBRATION_SECONDS", 0.0)

    def broken(task: object) -> None:
        raise RuntimeError("no such layer")

    register_model("Broken")(broken)
    chosen = cells(models=["Broken", "FCN"], distortions=["R"])
    plan = plan_grid(chosen, store.uri)
    assert (plan.to_train, plan.unknown) == (2, 1)
    assert plan.sources == {"calibration": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a data set without code, and weights of a model for it."""
    folder = tmp_path / "root"
    write_discs(folder)
    (cell,) = resolve(parse_config(of_discs(models=["CNN"])), folder)
    model = build_model(cell, Recipe.model_validate(cell.settings), 3)
    save_file(model.state_dict(), folder / "cnn.safetensors")
    return folder


def of_discs(**fields: Any) -> dict[str, Any]:
    return {"name": "discs", "dataset": "discs", "recipe": "smoke", "distortions": ["R"], **fields}


def mine() -> dict[str, str]:
    return {"name": "CNN", "as": "mine", "weights": "cnn.safetensors"}


def planned(command: Command, root: Path, config: dict[str, Any]) -> dict[str, Any]:
    file = root.parent / "discs.yaml"
    file.write_text(json.dumps(config))
    told = command(
        *("plan", file, "--data-root", root, "--store", root.parent / "new", "--format", "json")
    )
    assert told.code == 0, told.err
    found: dict[str, Any] = json.loads(told.out)
    return found


def test_a_data_set_without_code_and_models_with_weights_are_planned(
    command: Command, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "CALIBRATION_SECONDS", 0.0)
    seeds = [0, 1, 2]
    found = planned(
        command,
        root,
        of_discs(models=["FCN", mine()], seeds=seeds, distortions=["R", "clean"]),
    )
    assert (found["cells"], found["to_train"], found["unknown"]) == (8, 8, 0)
    assert found["sources"] == {"calibration": 8}
    assert found["seeds"] == 3  # of what is trained
    (images,) = found["images"]
    assert (images["dataset"], images["n"], images["base_images"]) == ("discs", 60, 60)
    alone = planned(command, root, of_discs(models=[mine()]))
    assert (alone["cells"], alone["seeds"], alone["unknown"]) == (1, 0, 0)
    assert alone["worker_seconds"] > 0
    assert alone["bytes"] > 50_000 + 4 * 1000
    told = command("plan", root.parent / "discs.yaml", "--data-root", root)
    assert "seeds      none, as nothing is trained" in told.out


def test_what_was_trained_says_nothing_of_the_time_of_weights_from_a_file(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "CALIBRATION_SECONDS", 0.0)
    trained = resolve(parse_config(of_discs(models=["CNN"])), root)
    history(store, trained, 1e6)
    named = {**mine(), "as": "CNN"}
    plan = plan_grid(
        resolve(parse_config(of_discs(models=[named])), root), store.uri, data_root=root
    )
    assert plan.sources == {"calibration": 1}
    assert plan.worker_seconds < 1e4


@pytest.mark.usefixtures("no_calibration")
def test_a_data_set_that_is_new_to_the_store_has_its_intervals_too(
    store: Store, root: Path
) -> None:
    history(store, cells(models=["FCN"]), 10.0)
    new = resolve(parse_config(of_discs(models=["FCN"])), root)
    plan = plan_grid(new, store.uri, data_root=root)
    assert plan.sources == {"history": 1}
    assert [(images.dataset, images.n) for images in plan.images] == [("discs", 60)]


def test_what_cannot_be_planned_is_refused_in_one_line(
    command: Command, tmp_path: Path, store: Store
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert_refused(command("plan", tmp_path / "none.yaml"), "no such config file")
    assert_refused(command("plan", SMOKE, "--store", file), "is a file")
    assert_refused(command("plan", SMOKE, "--set", "sedes=[1]"), "did you mean 'seeds'?")
    assert_refused(command("plan", SMOKE, "--format", "md"), "unknown format 'md'", "json, text")
    assert_refused(command("plan", SMOKE, "--workers", "0"), "workers: at least 1")
    (tmp_path / "store" / "cells" / "x.parquet").write_text("torn")
    assert_refused(command("plan", SMOKE, "--store", store.uri), "torn")
