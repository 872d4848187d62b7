"""Grid configs as files: what a YAML file and `--set` say, and the configs that we ship."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell, GridConfig, RecipeChoice
from stn_cluster.networks import ModelChoice
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve

SHIPPED = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def shipped_cells(name: str) -> list[Cell]:
    return resolve(load_config(SHIPPED / name), source=name)


# --- the shipped configs ---


@pytest.mark.parametrize(
    ("name", "dataset", "seeds"),
    [
        ("quickstart.yaml", "digits", [0]),
        ("smoke.yaml", "digits", [0]),
        ("mnist.yaml", "mnist", [0, 1, 2]),
        ("mnist-v1.yaml", "mnist", [0]),
        ("paper.yaml", "mnist", [0, 1, 2]),
    ],
)
def test_a_shipped_config_is_the_whole_grid(name: str, dataset: str, seeds: list[int]) -> None:
    cells = shipped_cells(name)
    assert len({cell.key for cell in cells}) == len(cells) == 32 * len(seeds)
    assert {cell.dataset for cell in cells} == {dataset}
    assert {cell.seed for cell in cells} == set(seeds)
    assert len({cell.recipe for cell in cells}) == 1
    entries = Counter((cell.model, cell.transform, cell.distortion) for cell in cells)
    networks = {(model, transform) for model, transform, _ in entries}
    assert len(entries) == 32
    assert len(networks) == 8
    assert networks >= {("FCN", "none"), ("CNN", "none"), ("ST-FCN", "tps"), ("ST-CNN", "affine")}
    rts = "RTS:rotated-frame" if name == "mnist-v1.yaml" else "RTS"  # plain RTS when it was run
    assert {distortion for _, _, distortion in entries} == {"R", rts, "P", "E"}


def test_every_shipped_config_has_been_looked_at() -> None:
    names = {path.name for path in SHIPPED.glob("*.yaml")}
    assert names >= {"quickstart.yaml", "smoke.yaml", "mnist.yaml", "paper.yaml"}
    for name in names:
        assert shipped_cells(name)


def test_the_papers_config_trains_as_published() -> None:
    cell = shipped_cells("paper.yaml")[0]
    assert cell.recipe == "paper"
    recipe = Recipe.model_validate(cell.settings)
    assert (recipe.iterations, recipe.batch_size) == (150_000, 256)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 0.0)
    assert (recipe.learning_rate, recipe.schedule) == (0.01, "step")
    assert (recipe.step_every, recipe.step_factor) == (50_000, 0.1)
    assert (recipe.localisation_rate, recipe.transformer_size, recipe.by_model) == (1.0, None, {})


def test_shipped_cells_are_on_the_canvases_of_the_paper() -> None:
    canvases = {cell.distortion: cell.canvas for cell in shipped_cells("paper.yaml")}
    assert canvases == {"R": 28, "RTS": 42, "P": 42, "E": 28}


def test_no_shipped_config_names_paths_or_plugins() -> None:
    for path in SHIPPED.glob("*.yaml"):
        assert load_config(path).plugins == ()
        assert "data_root" not in path.read_text()


# --- YAML ---


def test_a_config_is_named_by_its_file_unless_it_gives_a_name(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "dataset: digits")).name == "mine"
    assert load_config(write(tmp_path, "name: other")).name == "other"


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / " my grid (2).yaml"
    path.write_text("dataset: digits")
    assert load_config(path).name == "my-grid-2"


def test_yaml_and_plain_data_make_the_same_config(tmp_path: Path) -> None:
    text = """
    dataset: mnist
    recipe: {name: smoke, iterations: 20}
    models: [CNN, ST-CNN]
    transforms: [none, tps]
    seeds: [0, 4]
    cells:
      - {model: FCN, distortion: "P:xy-42", seed: 3, recipe: paper}
    """
    data = {
        "name": "mine",
        "dataset": "mnist",
        "recipe": {"name": "smoke", "iterations": 20},
        "models": ["CNN", "ST-CNN"],
        "transforms": ["none", "tps"],
        "seeds": [0, 4],
        "cells": [{"model": "FCN", "distortion": "P:xy-42", "seed": 3, "recipe": "paper"}],
    }
    assert load_config(write(tmp_path, text)) == parse_config(data)


def test_a_config_written_as_json_and_read_back_is_the_same_config() -> None:
    config = load_config(SHIPPED / "quickstart.yaml", ["cells=[{model: FCN, distortion: R:42}]"])
    assert GridConfig.model_validate_json(config.model_dump_json(exclude_defaults=True)) == config


def test_numbers_and_words_are_those_of_json(tmp_path: Path) -> None:
    """By YAML 1.1, 010 would be 8 iterations, `no` false and 1e-3 a text."""
    text = "name: no\nseeds: [010]\nrecipe: {iterations: 0100, learning_rate: 1e-3}"
    config = load_config(write(tmp_path, text), ["recipe.batch_size=064"])
    assert (config.name, config.seeds) == ("no", (10,))
    overrides = {"iterations": 100, "learning_rate": 0.001, "batch_size": 64}
    assert config.recipe.overrides == overrides
    assert load_config(write(tmp_path, "name: 2026-01-31")).name == "2026-01-31"


def test_yaml_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = """
    cells:
      - &first {model: CNN, distortion: R}
      - &second {<<: *first, seed: 1}
      - {<<: *second, seed: 2}
    """
    config = load_config(write(tmp_path, text))
    assert [(str(cell.model), cell.seed) for cell in config.cells] == [("CNN", i) for i in range(3)]


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes("\ufeffdataset: mnist\r\nseeds: [1]\r\n".encode())
    assert load_config(path).seeds == (1,)


def test_reading_a_config_runs_nothing_that_it_names(tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = write(tmp_path, f"name: !!python/object/apply:os.mkdir ['{made}']")
    with pytest.raises(Exception, match="could not determine a constructor"):
        load_config(path)
    assert not made.exists()


# --- --set ---


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("dataset=mnist", "dataset", "mnist"),
        ("name=other", "name", "other"),
        ("seeds=[0, 1]", "seeds", (0, 1)),
        ("models=[CNN]", "models", (ModelChoice(name="CNN"),)),
        ("plugins=[mine.own]", "plugins", ("mine.own",)),
        ("recipe=smoke", "recipe", RecipeChoice(name="smoke")),
        ("recipe={name: smoke}", "recipe", RecipeChoice(name="smoke")),
        (
            "recipe.iterations=9",
            "recipe",
            RecipeChoice(name="paper", overrides={"batch_size": 32, "iterations": 9}),
        ),
        (
            "recipe.batch_size=64",
            "recipe",
            RecipeChoice(name="paper", overrides={"batch_size": 64}),
        ),
        (
            "recipe.name=smoke",
            "recipe",
            RecipeChoice(name="smoke", overrides={"batch_size": 32}),
        ),
        (
            "recipe.by_model.CNN.learning_rate=0.5",
            "recipe",
            RecipeChoice(
                name="paper",
                overrides={"batch_size": 32, "by_model": {"CNN": {"learning_rate": 0.5}}},
            ),
        ),
    ],
)
def test_set_replaces_what_the_file_says(
    tmp_path: Path, override: str, field: str, value: Any
) -> None:
    path = write(tmp_path, "dataset: digits\nseeds: [5]\nrecipe: {name: paper, batch_size: 32}")
    assert getattr(load_config(path, [override]), field) == value


def test_set_keeps_the_recipe_that_the_file_names_as_a_word(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "recipe: paper"), ["recipe.batch_size=32"])
    assert config.recipe == RecipeChoice(name="paper", overrides={"batch_size": 32})


def test_set_changes_the_default_recipe_where_the_file_names_none(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "dataset: digits"), ["recipe.batch_size=32"])
    assert config.recipe == RecipeChoice(overrides={"batch_size": 32})


def test_a_later_set_wins_and_several_add_up(tmp_path: Path) -> None:
    overrides = ["recipe.iterations=1", "recipe.iterations=2", "recipe.filters=8", "seeds=[3]"]
    config = load_config(write(tmp_path, "dataset: digits"), overrides)
    assert config.recipe.overrides == {"iterations": 2, "filters": 8}
    assert config.seeds == (3,)


def test_an_equals_sign_may_be_in_the_value(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "name: x"), ["cells=[{model: CNN, distortion: 'a=b'}]"])
    assert config.cells[0].distortion == "a=b"


def test_reading_a_config_leaves_its_file_and_folder_as_they_were(tmp_path: Path) -> None:
    path = write(tmp_path, "dataset: digits")
    load_config(path, ["dataset=mnist"])
    assert path.read_text() == "dataset: digits"
    assert os.listdir(tmp_path) == ["mine.yaml"]  # noqa: PTH208


@pytest.mark.parametrize(
    "lines",
    [
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)],
        ["recipe: &r {name: fast, again: *r}"],
    ],
    ids=["aliases of aliases", "an alias of itself"],
)
def test_aliases_that_stand_for_more_than_memory_holds_are_refused_at_once(
    tmp_path: Path, lines: list[str]
) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="its aliases expand to more than 1,000,000 values"):
        load_config(path)


def test_set_changes_no_other_recipe_that_an_alias_shares(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "recipe: &recipe {name: smoke, iterations: 5}\n"
        "cells: [{model: CNN, transform: none, distortion: R, seed: 0, recipe: *recipe}]\n"
    )
    config = load_config(path, ["recipe.iterations=9"])
    assert config.recipe.overrides == {"iterations": 9}
    assert config.cells[0].recipe is not None
    assert config.cells[0].recipe.overrides == {"iterations": 5}
