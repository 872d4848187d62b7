"""The results that this repository publishes: what they say of themselves still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from stn_cluster import comparison_table, recipes
from stn_cluster.config_file import load_config
from stn_cluster.grid import Cell
from stn_cluster.registry import components, resolve
from stn_cluster.report.table import cells_table
from stn_cluster.store import Store, is_published

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
STORES = sorted(path.parent.name for path in RESULTS.glob("*/cells"))


def rows(store: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / store / "cells")


@pytest.mark.parametrize("store", STORES)
def test_every_published_key_is_that_of_its_spec(store: str) -> None:
    published = rows(store)
    assert len(published)
    for row in published.itertuples():
        cell = Cell.model_validate_json(str(row.spec))
        assert cell.key == row.key, row.label
        named = (row.model, row.transform, row.distortion, row.seed, row.dataset, row.recipe)
        assert named == (
            *(cell.model, cell.transform, cell.distortion),
            *(cell.seed, cell.dataset, cell.recipe),
        )
        assert cell.label == row.label


@pytest.fixture(params=["fast as it is", "another fast"])
def any_fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe that the configs build on may become another."""
    if request.param == "another fast":
        fields = recipes.fast().model_dump() | {"iterations": 9, "weight_decay": 0.5, "filters": 8}
        other = recipes.Recipe.model_validate(fields | {"by_model": {"CNN": {"filters": 16}}})
        entry = components.Entry(kind="recipe", name="fast", target=lambda: other, revision=1)
        monkeypatch.setitem(components._entries, ("recipe", "fast"), entry)


@pytest.mark.usefixtures("any_fast")
@pytest.mark.parametrize(("name", "count"), [("mnist-v1", 32), ("readings-of-p", 8)])
def test_a_published_stores_config_asks_for_its_rows_and_no_others(name: str, count: int) -> None:
    cells = resolve(load_config(ROOT / "configs" / f"{name}.yaml"))
    assert len(cells) == count
    assert {cell.key for cell in cells} == set(rows(name)["key"])
    store = Store.open(RESULTS / name)
    for table in (comparison_table(store), cells_table(store, cells)):
        assert len(table) == count
        assert set(table["status"]) == {"succeeded"}


@pytest.mark.parametrize("name", ["mnist-v1", "readings-of-p"])
def test_a_published_stores_manifest_is_of_its_rows(name: str) -> None:
    assert is_published(RESULTS / name)
    manifest = json.loads((RESULTS / name / "manifest.json").read_text())
    published = rows(name)
    assert manifest["cells"] == len(published)
    assert manifest["missing"] == []
    assert manifest["config"] == f"configs/{name}.yaml"
    reruns = manifest["commands"]["rerun"]
    assert len(reruns) == len(published)
    for command in reruns.values():
        assert f"--store results/{name} " in command
        assert " --into " in command
    assert {command.split("--key ")[1][:16] for command in reruns.values()} == set(published["key"])
