"""Trained networks from a store: they are what was tested, or a line says what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.packs import make_cells
from support.plugin_sources import a_model, cells_of, write
from support.plugin_state import plugins_forgotten
from support.stored import train_into
from torch import nn

from stn_cluster import load_model, predict
from stn_cluster.data.cache import DataCache
from stn_cluster.errors import NotFoundError, UserError
from stn_cluster.grid import Cell
from stn_cluster.inference.export_models import export_model
from stn_cluster.store import Store

RECIPE = {"iterations": 4, "ema": 0.5, "dropout": 0.1}
PAIR = make_cells(
    models=["FCN", "ST-FCN"], transforms=["none", "tps"], distortions=["RTS"], recipe=RECIPE
)
FCN, ST_FCN = PAIR


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a trained pair; tests do not change it."""
    store = Store.open(tmp_path_factory.mktemp("trained") / "store", create=True)
    train_into(store, PAIR)
    train_into(store, make_cells(models=["FCN"], distortions=["RTS"], seeds=[1], recipe=RECIPE))
    return store


def stored_predictions(store: Store, cell: Cell) -> list[int]:
    rows = store.read("predictions").to_pylist()
    [row] = [row for row in rows if row["key"] == cell.key]
    return list(row["predictions"])


def assert_as_tested(model: nn.Module, store: Store, cell: Cell, data: DataCache) -> None:
    assert not any(module.training for module in model.modules())
    classes, confidences = predict(model, data.test(cell).images.whole())
    assert classes.tolist() == stored_predictions(store, cell)
    assert confidences.shape == classes.shape
    assert 0.1 <= float(confidences.min()) <= float(confidences.max()) <= 1


@pytest.mark.parametrize("cell", PAIR, ids=lambda cell: cell.label)
@pytest.mark.parametrize("name", ["label", "key"])
def test_a_loaded_model_says_what_was_stored(
    trained: Store, data: DataCache, cell: Cell, name: str
) -> None:
    model = load_model(trained.uri, getattr(cell, name))
    assert_as_tested(model, trained, cell, data)
    assert model.trained.cell == cell
    assert model.trained.n_classes == 10


def test_a_label_may_lack_the_seed(trained: Store) -> None:
    assert load_model(trained, "ST-FCN/tps/RTS").trained.cell == ST_FCN
    assert load_model(trained, "FCN/none/RTS", seed=1).trained.cell.seed == 1
    with pytest.raises(UserError, match=r"FCN/none/RTS: which of seed=0; seed=1\?"):
        load_model(trained, "FCN/none/RTS")


def test_loading_draws_no_random_numbers(trained: Store) -> None:
    before = torch.get_rng_state()
    load_model(trained, FCN.key)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_newest_attempt_is_loaded_or_the_one_that_is_named(store: Store) -> None:
    cells = make_cells(models=["FCN"], recipe={"iterations": 2})
    train_into(store, cells, "first")
    train_into(store, cells, "second")
    assert load_model(store, "FCN/none/E").trained.attempt == "second0"
    assert load_model(store, "FCN/none/E", attempt="first0").trained.attempt == "first0"
    with pytest.raises(NotFoundError, match="FCN/none/E has no attempt 'third0'"):
        load_model(store, "FCN/none/E", attempt="third0")


def test_recipes_with_the_same_label_are_told_apart(store: Store) -> None:
    for steps in (2, 3):
        train_into(store, make_cells(models=["FCN"], recipe={"iterations": steps}), str(steps))
    with pytest.raises(UserError, match=r"FCN/none/E/seed0: which of recipe='smoke\+.*'; recipe="):
        load_model(store, "FCN/none/E/seed0")
    [cell] = make_cells(models=["FCN"], recipe={"iterations": 3})
    assert load_model(store, cell.label, recipe=cell.recipe).trained.cell == cell


def train_plugin(store: Store, folder: Path, body: str) -> Cell:
    """Trains a plug-in's model, with this body of its function; the cell."""
    write(folder, "mine.py", a_model("Mine", "from torch import nn\n", body))
    [cell] = cells_of(folder, "mine", models=["Mine"])
    train_into(store, [cell])
    return cell


def test_a_model_of_a_plug_in_is_what_was_submitted(
    store: Store, tmp_path: Path, data: DataCache
) -> None:
    body = (
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))\n"
        "        self.steps = 0\n"
        "    def forward(self, images):\n"
        "        self.steps += self.training\n"
        "        return super().forward(images) * min(self.steps, 2)\n"
        "return Net()"
    )
    with plugins_forgotten():
        cell = train_plugin(store, tmp_path, body)
    write(tmp_path, "mine.py", "raise ImportError('another one')")
    with plugins_forgotten():
        model = load_model(store, "Mine/none/R")
        assert model.steps == cell.iterations
        assert_as_tested(model, store, cell, data)


def test_what_no_file_can_hold_is_said(store: Store, tmp_path: Path) -> None:
    body = (
        "class Net(nn.Linear):\n"
        "    def forward(self, images):\n"
        "        self.seen = object()\n"
        "        return super().forward(images.flatten(1))\n"
        "return Net(784, 10)"
    )
    with plugins_forgotten():
        train_plugin(store, tmp_path, body)
        with pytest.warns(UserWarning, match="^model 'Mine' has attributes that training has"):
            load_model(store, "Mine/none/R")
        with pytest.raises(UserError, match=r"^Mine/none/R/seed0: training has changed Python att"):
            export_model(store, "Mine/none/R", tmp_path)


# --- weights that are not here ---


def test_one_line_says_what_trains_a_cell_without_weights(trained: Store, tmp_path: Path) -> None:
    shutil.copytree(Path(trained.uri) / "cells", tmp_path / "cells")
    command = f"stn-cluster rerun --store {tmp_path} --key {FCN.key}"
    with pytest.raises(NotFoundError) as raised:
        load_model(tmp_path, FCN.label)
    told = f"the weights of {FCN.label} are not here; this trains it: {command}"
    assert str(raised.value) == f"{tmp_path}: {told}"
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(NotFoundError, match=f"{command} --into DIR$"):
        load_model(tmp_path, FCN.label)


def test_unknown_cells_have_a_suggestion(trained: Store) -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'ST-FCN/tps/RTS/seed0'\? give a label"):
        load_model(trained, "ST-FCN/tsp/RTS/seed0")


def test_a_cell_that_only_was_submitted_is_named_with_its_command(store: Store) -> None:
    [cell] = make_cells(models=["FCN"])
    spec = cell.model_dump(mode="json")
    store.write_job("j", {"job_id": "j", "submitted_at": "2026", "cells": [spec]})
    with pytest.raises(NotFoundError, match=f"FCN/none/E/seed0 has not been trained.*{cell.key}"):
        load_model(store, "FCN/none/E")


def test_damaged_weights_are_named(store: Store) -> None:
    [cell] = make_cells(models=["FCN"], recipe={"iterations": 2})
    train_into(store, [cell])
    store.checkpoints.write(cell.key, "a0", "weights.pt", b"nothing")
    with pytest.raises(UserError, match=r"weights of FCN/none/E/seed0 in .* are damaged: not a re"):
        load_model(store, cell.key)


# --- export ---


def test_exported_weights_are_read_where_there_are_no_checkpoints(
    trained: Store, tmp_path: Path, data: DataCache
) -> None:
    for folder in ("cells", "predictions", "test_sets"):
        shutil.copytree(Path(trained.uri) / folder, tmp_path / folder)
    weights, described = export_model(trained, ST_FCN.label, tmp_path / "weights")
    assert weights == tmp_path / "weights" / f"{ST_FCN.key}.safetensors"
    assert f'"label": "{ST_FCN.label}"' in described.read_text()
    published = Store.open(tmp_path)
    assert_as_tested(load_model(published, ST_FCN.label), published, ST_FCN, data)
    weights.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"weights of .* are damaged"):
        load_model(published, ST_FCN.label)


def test_the_spec_that_is_exported_is_the_cell(trained: Store, tmp_path: Path) -> None:
    import json

    _, described = export_model(trained, FCN.key, tmp_path)
    about = json.loads(described.read_text())
    assert Cell.model_validate(about["spec"]) == FCN
    assert (about["key"], about["n_classes"], about["attempt"]) == (FCN.key, 10, "a0")


def test_exported_tensors_are_those_of_the_model(trained: Store, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    weights, _ = export_model(trained, FCN.key, tmp_path)
    state = load_model(trained, FCN.key).state_dict()
    kept = load_file(weights)
    assert kept.keys() == state.keys()
    assert all(np.array_equal(kept[name], state[name].numpy()) for name in kept)
