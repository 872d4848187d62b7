"""The configs' JSON schema: what editors take for right and wrong is what `run` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from stn_cluster.config_file import load_config, parse_config
from stn_cluster.config_schema import config_schema
from stn_cluster.errors import UserError
from stn_cluster.grid import CellChoice, GridConfig, Needs
from stn_cluster.networks import ModelChoice
from stn_cluster.recipes import Recipe
from stn_cluster.registry import KINDS, load_plugins, names, resolve

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def errors(config: object) -> list[str]:
    return [error.message for error in Draft202012Validator(config_schema()).iter_errors(config)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(config_schema())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert CONFIGS
    assert errors(yaml.safe_load(path.read_text())) == []


RIGHT: list[dict[str, Any]] = [
    {},
    {"dataset": "mnist", "recipe": "paper", "models": ["CNN"], "seeds": [0, 5]},
    {"recipe": {"name": "fast", "filters": [32, 64], "evaluate_every": None}},
    {"recipe": {"by_model": {"FCN": {"iterations": 5}}, "precision": "bf16"}},
    {"distortions": ["R:42", "RTS:rotated-frame", "RTS:frame-50", "P:xy-42", "E"]},
    {"cells": [{"model": "ST-CNN", "transform": "tps", "distortion": "P:xy", "recipe": "smoke"}]},
    {"needs": {"num_gpus": 0.5, "resources": {"disk": 1}}, "no_progress_seconds": 5},
    {"models": ["torchvision:resnet18", {"name": "CNN", "as": "mine", "mean": 0.5, "std": [0.2]}]},
    {"cells": [{"model": {"name": "CNN", "as": "mine"}, "distortion": "R"}]},
]
WRONG: list[dict[str, Any]] = [
    {"model": ["CNN"]},
    {"models": ["CNNN"]},
    {"models": "CNN"},
    {"models": [{"name": "CNNN"}]},
    {"models": [{"name": "CNN", "ass": "mine"}]},
    {"models": [{"as": "mine"}]},
    {"models": None},
    {"transforms": ["affin"]},
    {"distortions": ["P:yx"]},
    {"distortions": ["R:"]},
    {"distortions": [42]},
    {"distortions": ["R:" + 5000 * "9"]},
    {"recipe": {"iterations": 10**400}},
    {"recipe": {"iterations": 2**31}},
    {"dataset": 5},
    {"recipe": "fats"},
    {"recipe": {"name": "fats"}},
    {"recipe": {"iteration": 3}},
    {"recipe": {"iterations": 0}},
    {"recipe": {"optimizer": "adam"}},
    {"recipe": {"filters": [1, 2, 3]}},
    {"recipe": {"by_model": {"FCN": {"iterations": 0}}}},
    {"seeds": [-1]},
    {"cells": [{"model": "CNN"}]},
    {"cells": [{"model": "X", "distortion": "R"}]},
    {"needs": {"num_gpu": 1}},
    {"no_progress_seconds": 0},
]


@pytest.mark.parametrize("config", RIGHT, ids=str)
def test_what_runs_is_valid(config: dict[str, Any]) -> None:
    assert resolve(parse_config(config))
    assert errors(config) == []


def test_a_data_set_may_be_files_that_no_schema_knows() -> None:
    assert errors({"dataset": "signs", "cells": [{"model": "CNN", "distortion": "R"}]}) == []


@pytest.mark.parametrize("config", WRONG, ids=str)
def test_what_does_not_run_is_invalid(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError):
        resolve(load_config(tmp_path / "wrong.yaml"))
    assert errors(config)


def test_a_config_with_plug_ins_may_name_other_components() -> None:
    config = {"plugins": ["mine"], "models": ["Mine"], "recipe": "mine", "dataset": "mine"}
    assert errors(config) == []
    assert errors({**config, "plugin": []})


def test_components_of_loaded_plug_ins_are_completed(tmp_path: Path) -> None:
    (tmp_path / "schematic.py").write_text(
        "from stn_cluster import register_distortion, register_model\n"
        "@register_model('Schematic')\n"
        "def build(task):\n"
        "    '''A model of mine. It has more to say.'''\n"
        "register_distortion('Bent', variants={'much': 28, 'little': 40})(build)\n"
    )
    load_plugins(["schematic"], [tmp_path])
    definitions = config_schema()["$defs"]
    assert {"const": "Schematic", "description": "A model of mine"} in definitions["model"]["anyOf"]
    assert errors({"models": ["Schematic"], "distortions": ["Bent:little", "Bent:much-60"]}) == []


def test_every_component_is_completed_with_a_line_on_it() -> None:
    definitions = config_schema()["$defs"]
    for kind in KINDS:
        lines = {c["const"]: c["description"] for c in definitions[kind]["anyOf"] if "const" in c}
        assert set(names(kind)) <= set(lines)
        assert all(lines.values())


def described(schema: object) -> Iterator[dict[str, Any]]:
    """All properties in a schema."""
    if isinstance(schema, list):
        for part in schema:
            yield from described(part)
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).values()
        for part in schema.values():
            yield from described(part)


def test_every_field_is_described() -> None:
    schema = config_schema()
    del schema["then"]  # a condition on the same fields
    fields = list(described(schema))
    assert len(fields) > 60
    assert [field for field in fields if not field.get("description")] == []


@pytest.mark.parametrize("owner", [GridConfig, CellChoice, Needs, Recipe, ModelChoice])
def test_a_new_field_needs_a_description(owner: type[GridConfig]) -> None:
    lacking = [name for name, field in owner.model_fields.items() if not field.description]
    assert lacking == []
