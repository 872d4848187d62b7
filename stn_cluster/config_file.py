"""Reading a `GridConfig` from YAML and `--set`, with errors that name the file and the field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stn_cluster.errors import UserError, first_error, unknown
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.grid import CellChoice, Frozen, GridConfig, Needs, RecipeChoice
from stn_cluster.networks import ModelChoice
from stn_cluster.paths import user_path
from stn_cluster.yaml_core import NOT_YAML, read_yaml

MAX_VALUES = 1_000_000  # in a config


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> GridConfig:
    """Reads a config from a YAML file and applies `--set a.b=value` overrides.

    A config without a name is named after its file.

    Raises:
        UserError: the file is missing, empty, malformed, or a field is wrong.
    """
    path = user_path(path)
    document = _document(_read(path), str(path))
    document.setdefault("name", _name(path))
    for override in overrides:
        _apply(document, override)
    return _parsed(document, str(path))


def parse_yaml(text: str, source: str = "config") -> GridConfig:
    """Makes a `GridConfig` from the text of a YAML file; `source` names it in errors.

    Raises:
        UserError: it is empty, malformed, or a field is wrong.
    """
    return _parsed(_document(text, source), source)


def _parsed(document: dict[str, Any], source: str) -> GridConfig:
    for field, value in document.items():
        if value is None or (field == "cells" and value == []):
            raise UserError(f"{source}: {field}: is empty; give it a value, or leave it out")
    return parse_config(document, source=source)


def parse_config(document: dict[str, Any], source: str = "config") -> GridConfig:
    """Makes a `GridConfig` from plain data; `source` names it in errors."""
    try:
        return GridConfig.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{source}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """The most helpful of pydantic's errors as one line, 'field.path: what is wrong'."""
    errors = error.errors()
    first, message = first_error(errors, _known_fields)
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "tuple_type":
        message = f"expected a list, as in [{first['input']}]"
    elif first["type"] != "extra_forbidden" and _is_plain(first.get("input", ...)):
        message += f" (given: {first['input']!r})"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {message}{more}"


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _known_fields(path: Sequence[Any]) -> Iterable[str]:
    """Fields of the part of a config at a location."""
    if "models" in path or "model" in path:
        return [field.alias or name for name, field in ModelChoice.model_fields.items()]
    if path[:1] == ["evaluate"]:
        return Evaluate.model_fields
    parts: dict[Any, type[Frozen]] = {"recipe": RecipeChoice, "needs": Needs}
    default = CellChoice if path else GridConfig
    return next((parts[part] for part in path if part in parts), default).model_fields


def _name(path: Path) -> str:
    """Name of a config, from its file's name: 'my-grid-2' for 'my grid (2).yaml'."""
    return re.sub(r"[^A-Za-z0-9._+]+", "-", path.stem).strip("-._+")[:64] or "grid"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text: {error}") from None


def _document(text: str, path: str) -> dict[str, Any]:
    try:
        document = read_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except NOT_YAML as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if document is None:
        raise UserError(f"{path}: the config is empty; it needs at least `dataset:`")
    if not isinstance(document, dict):
        raise UserError(f"{path}: a config is a mapping of fields, not a {type(document).__name__}")
    if _values(document, {}) > MAX_VALUES:
        raise UserError(f"{path}: its aliases expand to more than {MAX_VALUES:,} values")
    return document


def _values(value: Any, known: dict[int, float]) -> float:
    """Number of values with every alias expanded; infinite if an alias contains itself.

    A few lines of aliases of aliases can expand to more values than fit in memory.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # until it is counted
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_values(part, known) for part in parts)
    return known[id(value)]


def _apply(document: dict[str, Any], override: str) -> None:
    """Sets one dotted path of the document: 'recipe.iterations=800', 'seeds=[0, 1]'."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override}: expected FIELD=VALUE, as in recipe.iterations=800")
    top, *rest = path.split(".")
    if top not in GridConfig.model_fields:
        hint = f"; a recipe's fields are set as recipe.{top}"
        raise UserError(f"--set {path}: {unknown('field', top, GridConfig.model_fields)}{hint}")
    if rest and (top != "recipe" or "" in rest):
        raise UserError(f"--set {path}: only recipe has fields of its own; set {top} as a whole")
    try:
        value = read_yaml(text)
    except NOT_YAML:
        raise UserError(f"--set {path}: {text!r} is not a YAML value") from None
    if not rest:
        document[top] = value
        return
    recipe = document.get("recipe")
    if not isinstance(recipe, dict):
        recipe = {"name": recipe} if "recipe" in document else {}
    # A copy: with YAML's aliases, it may be the recipe of a listed cell, too.
    place = document["recipe"] = deepcopy(recipe)
    for part in rest[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise UserError(f"--set {path}: {part} is not a mapping")
    place[rest[-1]] = value
