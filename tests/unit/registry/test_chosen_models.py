"""Models as configs choose them: names, normalisation, weights; torchvision's by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, GridConfig
from stn_cluster.registry import resolve

RESNET = "torchvision:resnet18"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with two files, the same and another."""
    for name, content in (("one.pt", b"1"), ("same.pt", b"1"), ("other.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def cells(root: Path | None = None, **fields: Any) -> list[Cell]:
    return resolve(parse_config({"distortions": ["R"], "recipe": "smoke", **fields}), root)


def one(root: Path | None = None, **model: Any) -> Cell:
    [cell] = cells(root, models=[model])
    return cell


def test_torchvisions_models_are_chosen_by_name() -> None:
    [cell] = cells(models=[RESNET])
    assert cell.label == f"{RESNET}/none/R/seed0"
    assert cell.revisions[f"model:{RESNET}"] == 1
    assert cell.network is None


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("torchvision:resnet81", "did you mean 'torchvision:resnet18'? allowed: torchvision:alexn"),
        ("resnet18", "did you mean 'torchvision:resnet18'? allowed: CNN"),
        ("CNM", "did you mean 'CNN'? allowed: CNN, FCN, ST-CNN, ST-FCN, torchvision:NAME"),
        ("torchvision:fcn_resnet50", "unknown model"),  # it segments
    ],
)
def test_unknown_models_have_a_suggestion(given: str, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        cells(models=[given])
    assert hint in str(raised.value)


def test_a_name_is_just_the_registered_model() -> None:
    assert cells(models=["CNN"]) == cells(models=[{"name": "CNN"}])
    assert "network" not in cells(models=["CNN"])[0].model_dump()


def test_a_model_has_the_name_that_it_is_given() -> None:
    cell = one(name="CNN", **{"as": "mine:2"})
    assert (cell.label, cell.model, cell.architecture) == ("mine:2/none/R/seed0", "mine:2", "CNN")
    [plain] = cells(models=["CNN"])
    assert cell.settings == plain.settings
    assert cell.stream == plain.stream


def test_normalisation_is_in_the_key() -> None:
    keys = {
        one(name="CNN", **{"as": "x"}, **fields).key
        for fields in ({}, {"mean": 0.5, "std": 1}, {"mean": [0.5], "std": [2]})
    }
    assert len(keys) == 3
    assert one(name="CNN", mean=0.5, std=1).key == one(name="CNN", mean=[0.5], std=[1.0]).key


def test_weights_are_known_by_their_contents(root: Path) -> None:
    one_, same, other = (
        one(root, name="FCN", weights=name, **{"as": "x"})
        for name in ("one.pt", "same.pt", "other.pt")
    )
    assert one_.key == same.key != other.key
    assert Cell.model_validate_json(one_.model_dump_json()) == one_
    [again] = resolve(GridConfig.model_validate_json(_config(root).model_dump_json()), root)
    assert again == one_


def _config(root: Path) -> GridConfig:
    model = {"name": "FCN", "weights": "one.pt", "as": "x"}
    return parse_config({"distortions": ["R"], "recipe": "smoke", "models": [model]})


def test_a_model_with_weights_has_one_cell_a_distortion(root: Path) -> None:
    models = ["FCN", {"name": "CNN", "as": "mine", "weights": "one.pt"}]
    found = cells(root, models=models, seeds=[3, 4], distortions=["R", "E"])
    assert [cell.label for cell in found if cell.model == "mine"] == [
        "mine/none/R/seed0",
        "mine/none/E/seed0",
    ]
    assert {(c.recipe, c.iterations, c.batch_size) for c in found if c.model == "mine"} == {
        ("none", 0, 0)
    }
    assert len(found) == 6


def test_the_recipe_gives_the_shape_of_a_model_with_weights(root: Path) -> None:
    def settings(name: str, **recipe: Any) -> dict[str, Any]:
        model = {"name": name, "as": "mine", "weights": "one.pt"}
        return cells(root, models=[model], recipe={"name": "smoke", **recipe})[0].settings

    assert settings("FCN", hidden_units=20, iterations=3) == {
        "filters": 4,
        "hidden_units": 20,
        "transformer_size": 28,
    }
    assert settings(RESNET, hidden_units=20) == {}
    assert settings("FCN", by_model={"mine": {"filters": 5}})["filters"] == 5
    assert settings("FCN", by_model={"FCN": {"filters": 6}})["filters"] == 6


def test_weights_go_with_the_transforms_that_the_model_takes(root: Path) -> None:
    stn = {"name": "ST-CNN", "as": "mine", "weights": "one.pt"}
    found = cells(root, models=["ST-FCN", stn], transforms=["affine", "tps"])
    assert [c.transform for c in found if c.model == "mine"] == ["affine", "tps"]
    plain = {"name": RESNET, "as": "mine", "weights": "one.pt"}
    found = cells(root, models=["ST-FCN", plain], transforms=["affine"])
    assert [c.transform for c in found] == ["affine", "none"]


def test_a_listed_cell_chooses_its_model_in_the_same_way(root: Path) -> None:
    model = {"name": "FCN", "as": "mine", "weights": "one.pt"}
    config = {"cells": [{"model": model, "distortion": "R"}], "recipe": "smoke"}
    [cell] = resolve(parse_config(config), root)
    assert cell == one(root, **model)
    config["cells"][0]["seed"] = 1  # type: ignore[index]
    with pytest.raises(UserError, match=r"cells\.0: mine is not trained: its seed is 0, not 1"):
        resolve(parse_config(config), root)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["CNN", {"name": "FCN", "as": "CNN"}], "models: named twice: CNN; `as` gives one anoth"),
        ([{"name": "FCN", "as": "CNN"}], "as: 'CNN' is another model; choose a name of its own"),
        ([{"name": "FCN", "as": RESNET}], "is another model"),
        ([{"name": "FCN", "as": "a/b"}], "models.0.as: a model's name has one ':' at most, no '/'"),
        ([{"name": "FCN", "as": "a:b:c"}], "one ':' at most"),
        ([{"name": "FCN", "as": "a b"}], "no '/', '+' or blanks"),
        ([{"name": "FCN", "as": "a+b"}], "no '/', '+' or blanks"),
        ([{"nam": "FCN"}], "unknown field 'nam': did you mean 'name'? allowed: as, mean, name, st"),
        ([{"as": "FCN"}], "models.0.name: Field required"),
        ([{"name": "FCN", "mean": 0.5}], "models.0: mean and std: give both, or none"),
        ([{"name": "FCN", "mean": 0.5, "std": 0}], "mean and std: finite, and std above 0"),
        ([{"name": "FCN", "mean": [1, 2], "std": [1, 2]}], "one number each, or one for each chan"),
        (
            [{"name": "FCN", "mean": [1, 2, 3], "std": [1, 2, 3]}],
            "have 3 numbers, and the images 1",
        ),
        (
            [{"name": "FCN", "mean": ["a"], "std": [1]}],
            "models.0.mean.0: Input should be a valid nu",
        ),
        (
            [{"name": "FCN", "weights": "../one.pt"}],
            "a file below the data root, as in signs.safet",
        ),
        ([{"name": "FCN", "weights": "/one.pt"}], "a file below the data root"),
        ([{"name": "FCN", "weights": "a/../../one.pt"}], "without '..'"),
        (
            [{"name": "FCN", "weights": "none.pt"}],
            "weights: none.pt: no such file in the data root",
        ),
        ([{"name": "FCN", "weights": "."}], "a file below the data root"),
        ([3], "models.0: "),
    ],
)
def test_a_choice_that_cannot_be_is_told_in_one_line(
    root: Path, models: list[Any], told: str
) -> None:
    with pytest.raises(UserError) as raised:
        cells(root, models=models)
    assert told in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
