"""Models that are evaluated and not trained: their weights come from a file under the data root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.coloured import write_discs
from support.packs import train
from support.plugin_sources import a_model, write
from support.plugin_state import plugins_forgotten
from support.stored import train_into
from support.workers import HERE

from stn_cluster import load_model, predict
from stn_cluster.cluster.make_jobs import cells_to_rerun
from stn_cluster.cluster.preparation import check_components
from stn_cluster.cluster.rows import to_record
from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.inference.export_models import export_model
from stn_cluster.queue.attempts import Attempt, utc_now
from stn_cluster.registry import resolve
from stn_cluster.store import Store
from stn_cluster.training.checkpoints import from_bytes
from stn_cluster.training.outcome import Outcome

RECIPE = {"name": "smoke", "iterations": 6, "filters": 6, "hidden_units": 12}
MEAN_STD = {"mean": [0.2, 0.3, 0.4], "std": [0.3, 0.2, 0.1]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a coloured data set."""
    root = tmp_path_factory.mktemp("root")
    write_discs(root)
    return root


def cells_of(root: Path, *models: Any, distortion: str = "RTS", **fields: Any) -> list[Cell]:
    config = {"dataset": "discs", "recipe": RECIPE, "distortions": [distortion], **fields}
    return resolve(parse_config(config | {"models": list(models)}), root)


def trained(root: Path, *cells: Cell) -> list[Outcome]:
    outcomes = train(list(cells), DataCache(root, torch.device("cpu")))
    for outcome in outcomes.values():
        assert outcome.error is None, outcome.error
    return [outcomes[cell.key] for cell in cells]


def state_of(outcome: Outcome) -> dict[str, torch.Tensor]:
    assert outcome.weights is not None
    state: dict[str, torch.Tensor] = from_bytes(outcome.weights)["model"]
    return state


@pytest.mark.parametrize(
    ("model", "transforms"),
    [
        ({"name": "torchvision:resnet18"}, ["none"]),
        ({"name": "torchvision:resnet18", **MEAN_STD}, ["none"]),
        ({"name": "CNN"}, ["none"]),
        ({"name": "FCN", "mean": 0.5, "std": 0.25}, ["none"]),
        ({"name": "ST-CNN", **MEAN_STD}, ["affine"]),
    ],
    ids=["resnet18", "normalised", "CNN", "FCN", "ST-CNN"],
)
def test_a_model_trained_here_gets_the_same_wrong_from_a_file(
    root: Path, model: dict[str, Any], transforms: list[str]
) -> None:
    [cell] = cells_of(root, model, transforms=transforms)
    [outcome] = trained(root, cell)
    save_file(state_of(outcome), root / "same.safetensors")
    given = model | {"weights": "same.safetensors", "as": "same"}
    [again] = cells_of(root, given, transforms=transforms)
    [evaluated] = trained(root, again)
    assert again.label == cell.label.replace(cell.model, "same")
    assert (again.recipe, again.seed, again.is_trained) == ("none", 0, False)
    assert evaluated.n_wrong == outcome.n_wrong
    assert evaluated.predictions == outcome.predictions
    assert evaluated.confusion == outcome.confusion


def test_the_row_of_a_model_that_was_not_trained_has_no_training(root: Path, store: Store) -> None:
    [outcome] = trained(root, *cells_of(root, "FCN"))
    save_file(state_of(outcome), root / "fcn.safetensors")
    [cell] = cells_of(root, {"name": "FCN", "as": "mine", "weights": "fcn.safetensors"})
    [evaluated] = trained(root, cell)
    row = to_record(Attempt("a", cell, "j", 1, HERE, utc_now()), evaluated).row
    for column in ("train_loss", "iterations", "images_per_second", "train_seconds"):
        assert row[column] is None
    assert (row["recipe"], row["seed"], row["model"], row["n_test"]) == ("none", 0, "mine", 60)
    assert row["parameters"] == outcome.parameters
    train_into(store, [cell], data_root=root)
    model = load_model(store, "mine/none/RTS", data_root=root)
    images = DataCache(root, torch.device("cpu")).test(cell).images.whole()
    assert predict(model, images).classes.tolist() == list(
        store.read("predictions").to_pylist()[0]["predictions"]
    )


def test_a_pack_of_both_kinds_is_trained_and_evaluated(root: Path) -> None:
    [alone] = trained(root, *cells_of(root, "FCN"))
    save_file(state_of(alone), root / "pack.safetensors")
    cells = cells_of(root, "FCN", {"name": "FCN", "as": "mine", "weights": "pack.safetensors"})
    together, evaluated = trained(root, *cells)
    assert together.predictions == alone.predictions == evaluated.predictions


def test_a_plug_ins_model_is_evaluated_too(root: Path, tmp_path: Path) -> None:
    body = "return nn.Sequential(nn.Flatten(), nn.Linear(3 * task.canvas**2, task.n_classes))"
    config = {"dataset": "discs", "recipe": "smoke", "distortions": ["R"], "plugins": ["mine"]}
    with plugins_forgotten():
        write(tmp_path, "mine.py", a_model("Mine", "from torch import nn\n", body))
        cells = resolve(parse_config({**config, "models": ["Mine"]}), root, folder=tmp_path)
        [outcome] = trained(root, *cells)
        torch.save(state_of(outcome), root / "mine.pt")
        model = {"name": "Mine", "as": "again", "weights": "mine.pt"}
        cells = resolve(parse_config({**config, "models": [model]}), root, folder=tmp_path)
        [evaluated] = trained(root, *cells)
        assert evaluated.predictions == outcome.predictions
        check_components(cells, root)


def test_an_export_is_a_file_of_weights(root: Path, store: Store) -> None:
    cells = cells_of(root, {"name": "torchvision:resnet18", "as": "signs", **MEAN_STD})
    outcome = train_into(store, cells, data_root=root)[cells[0].key]
    exported, _ = export_model(store, "signs/none/RTS", root / "exported")
    model = {"name": "torchvision:resnet18", "as": "again", **MEAN_STD}
    [cell] = cells_of(root, model | {"weights": f"exported/{exported.name}"})
    assert trained(root, cell)[0].n_wrong == outcome.n_wrong


def test_weights_that_do_not_fit_are_refused_before_anything_starts(root: Path) -> None:
    [outcome] = trained(root, *cells_of(root, "CNN"))
    save_file(state_of(outcome), root / "cnn.safetensors")
    given = {"name": "torchvision:resnet18", "as": "signs", "weights": "cnn.safetensors"}
    cells = cells_of(root, given)
    with pytest.raises(UserError) as raised:
        check_components(cells, root)
    assert str(raised.value) == (
        "weights cnn.safetensors do not fit model 'signs': missing: conv1.weight, bn1.weight, "
        "bn1.bias and 119 more; left over: classifier.bias, classifier.weight, features.0.bias and "
        "3 more"
    )
    given = {"name": "CNN", "as": "wider", "weights": "cnn.safetensors"}
    wider = cells_of(root, given, recipe={"name": "smoke", "filters": 8})
    with pytest.raises(UserError, match=r"of another shape: features.0.weight \(6x3x9x9, not 8x3"):
        check_components(wider, root)


def test_a_worker_with_another_file_fails_the_cell_and_names_its_node(root: Path) -> None:
    [outcome] = trained(root, *cells_of(root, "FCN"))
    save_file(state_of(outcome), root / "one.safetensors")
    [cell] = cells_of(root, {"name": "FCN", "as": "one", "weights": "one.safetensors"})
    save_file({k: v + 1 for k, v in state_of(outcome).items()}, root / "one.safetensors")
    [again] = cells_of(root, {"name": "FCN", "as": "one", "weights": "one.safetensors"})
    assert again.key != cell.key
    outcomes = train([cell], DataCache(root, torch.device("cpu")))
    error = outcomes[cell.key].error
    assert error is not None
    assert error.startswith("UserError: weights one.safetensors: the file on ")
    assert len(error.splitlines()) == 1


def test_scores_that_are_not_finite_fail_the_cell(root: Path) -> None:
    [outcome] = trained(root, *cells_of(root, "FCN"))
    state = {name: value * torch.nan for name, value in state_of(outcome).items()}
    save_file(state, root / "nan.safetensors")
    [cell] = cells_of(root, {"name": "FCN", "as": "nan", "weights": "nan.safetensors"})
    error = train([cell], DataCache(root, torch.device("cpu")))[cell.key].error
    assert error is not None
    assert "model 'nan' gave scores that are not finite" in error


def test_a_rerun_takes_the_file_that_is_there_now(root: Path, store: Store) -> None:
    [outcome] = trained(root, *cells_of(root, "FCN"))
    save_file(state_of(outcome), root / "again.safetensors")
    [cell] = cells_of(root, {"name": "FCN", "as": "mine", "weights": "again.safetensors"})
    train_into(store, [cell], data_root=root)
    assert cells_to_rerun(store, {"model": "mine"}, root) == [cell]
    save_file({k: v + 1 for k, v in state_of(outcome).items()}, root / "again.safetensors")
    [now] = cells_to_rerun(store, {"model": "mine"}, root)
    assert now.key != cell.key
    assert now.label == cell.label
