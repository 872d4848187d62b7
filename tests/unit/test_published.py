"""The results that this repository publishes: what they say of themselves still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from stn_cluster import comparison_table, recipes
from stn_cluster.config_file import load_config
from stn_cluster.registry import components, resolve
from stn_cluster.report.table import cells_table
from stn_cluster.store import Store, is_published

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def rows(store: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / store / "cells")


@pytest.fixture(params=["fast as it is", "another fast"])
def any_fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe that the configs build on may become another."""
    if request.param == "another fast":
        changed = {"iterations": 9, "weight_decay": 0.5, "decay": "weights", "filters": [8, 16]}
        changed |= {"muon_rate": 0.05, "dropout": 0.1, "ema": 0.9, "initialisation": "he"}
        changed |= {
            "image_jitter": 0.5,
            "theta_jitter": 1.0,
            "precision": "bf16",
            "hidden_units": 8,
        }
        changed |= {"by_model": {"CNN": {"filters": 16}}, "evaluate_every": 3}
        other = recipes.Recipe.model_validate(recipes.fast().model_dump() | changed)
        entry = components.Entry(kind="recipe", name="fast", target=lambda: other, number=1)
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
