"""Evaluations of networks from files of weights, of coloured images, and of published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
from support.coloured import write_discs
from support.evaluated import evaluate, evaluate_into, wanted
from support.packs import make_cells
from support.stored import train_into

from stn_cluster.config_file import parse_config
from stn_cluster.inference.export_models import export_model
from stn_cluster.queue.attempts import WEIGHTS
from stn_cluster.registry import resolve
from stn_cluster.store import Store, load_evaluations
from stn_cluster.training.checkpoints import from_bytes

RECIPE = {"name": "smoke", "iterations": 6, "filters": 6, "hidden_units": 12}


def test_a_network_from_a_file_is_evaluated_as_the_one_that_it_was(
    tmp_path: Path, store: Store
) -> None:
    write_discs(tmp_path)
    fields = {"dataset": "discs", "recipe": RECIPE, "distortions": ["RTS"]}
    [cell] = resolve(parse_config({**fields, "models": ["FCN"]}), tmp_path)
    train_into(store, [cell], data_root=tmp_path)
    kept = store.checkpoints.read(cell.key, "a0", WEIGHTS)
    assert kept is not None
    save_file(from_bytes(kept)["model"], tmp_path / "fcn.safetensors")
    given = {"name": "FCN", "as": "mine", "weights": "fcn.safetensors"}
    [file_cell] = resolve(parse_config({**fields, "models": [given]}), tmp_path)
    train_into(store, [file_cell], name="b", data_root=tmp_path)
    evaluate_into(store, tmp_path, on=("clean", "R", "RTS", "E"), severity=(1, 2), worst_of=2)
    rows = load_evaluations(store, predictions=True)
    assert set(rows["status"]) == {"succeeded"}
    trained, from_file = (rows[rows["model"] == model] for model in ("FCN", "mine"))
    assert set(trained["weights"]) == {cell.key}
    assert file_cell.network is not None
    assert set(from_file["weights"]) == {file_cell.network.digest}
    for column in ("test_set", "n_wrong", "ink_lost"):
        assert trained[column].tolist() == from_file[column].tolist()
    assert all(
        (a == b).all()
        for a, b in zip(trained["predictions"], from_file["predictions"], strict=True)
    )
    assert not set(trained["evaluation"]) & set(from_file["evaluation"])


def test_published_weights_are_evaluated_where_there_are_no_checkpoints(
    store: Store, tmp_path: Path
) -> None:
    [cell] = cells = make_cells(
        models=["ST-FCN"], transforms=["affine"], distortions=["R"], recipe={"iterations": 4}
    )
    train_into(store, cells)
    asked = wanted(store, on=("E", "RTS"))
    expected = evaluate(store, asked)
    weights, _ = export_model(store, cell.key, tmp_path)
    store.checkpoints.drop(cell.key, "a0", WEIGHTS)
    assert store.local_path is not None
    (store.local_path / "weights").mkdir()
    (store.local_path / "weights" / f"{cell.key}.safetensors").write_bytes(weights.read_bytes())
    assert evaluate(store, asked) == expected


@pytest.mark.parametrize("on", ["R", "P"])
def test_another_data_sets_images_are_those_that_are_tested(store: Store, on: str) -> None:
    train_into(store, make_cells(models=["FCN"], distortions=["R", "P"], recipe={"iterations": 4}))
    asked = wanted(store, on=on, dataset="digits-validation")
    outcomes = evaluate(store, asked)
    own = evaluate(store, wanted(store, on=on))
    assert {outcome.error for outcome in outcomes.values()} == {None}
    assert {outcome.n_test for outcome in outcomes.values()} != {o.n_test for o in own.values()}
