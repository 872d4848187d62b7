"""Plug-ins in a real grid: they reach the workers, the store and the table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.commands import stn_cluster
from support.services import PLUGINS

from stn_cluster import load_results

DOCUMENT = Path(__file__).parents[2] / "docs" / "plugins.md"


def documented(language: str, first_line: str) -> str:
    """The document's code block that begins with this line."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    [block] = [block for block in blocks if block.startswith(first_line)]
    return str(block)


def test_the_documented_plugin_runs_as_it_is_printed_there(tmp_path: Path) -> None:
    (tmp_path / "my_plugin.py").write_text(documented("python", "# my_plugin.py"))
    (tmp_path / "my_grid.yaml").write_text(documented("yaml", "# my_grid.yaml"))
    short = ["--set", "recipe.iterations=8", "--set", "recipe.batch_size=16"]
    done = stn_cluster("run", "my_grid.yaml", *short, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    results = load_results(tmp_path / "results" / "my_grid")
    assert set(results["status"]) == {"succeeded"}
    assert {"LeNet", "ST-CNN"} <= set(results["model"])
    assert "similarity" in set(results["transform"])
    assert re.search(r"^LeNet +none ", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^ST-CNN +similarity ", done.stdout, flags=re.MULTILINE)

    # Edited, it makes other cells of those that use it, and leaves the others as they are.
    before = results.set_index("label")["key"]
    plugin = tmp_path / "my_plugin.py"
    plugin.write_text(plugin.read_text() + "\n# a remark\n")
    again = stn_cluster("run", "my_grid.yaml", *short, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    history = pd.read_parquet(tmp_path / "results" / "my_grid" / "cells")
    runs = history["label"].value_counts()
    uses = runs.index.str.contains("LeNet|similarity")
    assert runs[uses].eq(2).all()
    assert runs[~uses].eq(1).all()
    assert history.groupby("label")["key"].nunique()[runs.index[uses]].eq(2).all()
    assert set(before) < set(history["key"])


# A model whose weights come from all that may be beside a plug-in, some of it only when it runs.
BROUGHT = """
import json
from pathlib import Path

import torch

from stn_cluster import register_model


@register_model("Brought")
def brought(task):
    import helper
    import on_the_path

    weights = json.loads(Path(__file__).with_name("weights.json").read_text())
    layer = torch.nn.Linear(task.canvas**2, task.n_classes)
    layer.weight.data[0] = weights + helper.one + on_the_path.one
    return torch.nn.Sequential(torch.nn.Flatten(), layer)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with the plug-in package, a plug-in of several files, and a grid of nothing but
    their components."""
    shutil.copytree(PLUGINS / "everything_plugin", tmp_path / "everything_plugin")
    (tmp_path / "brought.py").write_text(BROUGHT)
    (tmp_path / "helper.py").write_text("one = 1")
    (tmp_path / "weights.json").write_text("0.5")
    (tmp_path / ".gitignore").write_text("*.json")
    (tmp_path / "bars.yaml").write_text(
        "plugins: [everything_plugin, brought]\n"
        "dataset: bars\n"
        "models: [ST-Linear, Brought]\n"
        "transforms: [none, shift]\n"
        "distortions: [F]\n"
        "recipe: tiny\n"
    )
    return tmp_path


def test_a_package_can_bring_a_component_of_every_kind_and_rerun_finds_it_again(
    package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")  # the plug-in is beside the config, not here
    (elsewhere / "lib").mkdir()
    (elsewhere / "lib" / "on_the_path.py").write_text("one = 1")
    store, environment = package / "store", {"PYTHONPATH": "lib"}
    done = stn_cluster(
        "run", package / "bars.yaml", "--store", store, folder=elsewhere, **environment
    )
    assert done.returncode == 0, done.stderr
    brought, row = load_results(store).to_dict("records")
    assert brought["label"] == "Brought/none/F/seed0"
    assert row["label"] == "ST-Linear/shift/F/seed0"
    assert row["dataset"] == "bars"
    assert row["n_test"] == 14
    assert row["n_wrong"] == 0
    assert len(row["confusion"]) == 4
    assert re.search(r"^ST-Linear +shift +0.00", done.stdout, flags=re.MULTILINE)
    # One that is edited, in any of its files, is another cell; the other one is trained once more.
    (package / "weights.json").write_text("0.25")
    shown = stn_cluster("table", "--store", store)
    assert "plug-in 'brought' has changed since (weights.json): 1 of these" in shown.stderr
    again = stn_cluster("rerun", "--store", store, folder=elsewhere, **environment)
    assert again.returncode == 0, again.stderr
    history = pd.read_parquet(store / "cells").groupby("model")
    assert history["attempt"].nunique().eq(2).all()
    assert dict(history["key"].nunique()) == {"Brought": 2, "ST-Linear": 1}
    assert dict(history["train_loss"].nunique()) == {"Brought": 2, "ST-Linear": 1}
