"""JSON schema of the configs, by which editors complete and check them."""

from __future__ import annotations

import re
from typing import Any

from stn_cluster.grid import GridConfig
from stn_cluster.networks import ModelChoice
from stn_cluster.recipes import MAX_FILTERS, Recipe
from stn_cluster.registry import KINDS, TORCHVISION, Entry, Kind, lookup, names

Schema = dict[str, Any]

_AXES = {"models": "model", "transforms": "transform", "distortions": "distortion"}
_FIELDS = ("model", "transform", "distortion", "dataset")  # of a listed cell


def config_schema() -> Schema:
    """The schema (JSON Schema 2020-12), with all components that are registered now.

    Where a config names plug-ins, it may have other components, too.
    """
    schema = _plain(GridConfig.model_json_schema())
    cell = schema["$defs"]["CellChoice"]
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    schema["properties"], cell_fields = fields, cell["properties"]
    for axis, kind in _AXES.items():
        fields[axis]["items"] = _reference("model_choice" if kind == "model" else kind)
    fields["dataset"] |= _reference("dataset")
    for name in _FIELDS:
        description = cell_fields[name]["description"]
        chosen = "model_choice" if name == "model" else name
        cell_fields[name] = {"description": description, **_reference(chosen)}
    for owner in (fields, cell_fields):
        description = owner["recipe"]["description"]
        owner["recipe"] = {"description": description, **_reference("recipe_choice")}
    registered: dict[str, dict[str, Any]] = {k: {"anyOf": _choices(k)} for k in KINDS}
    schema["$defs"] = {
        "CellChoice": cell,
        "Needs": schema["$defs"]["Needs"],
        "recipe_choice": {"anyOf": [_reference("recipe"), _recipe_fields()]},
        "model_choice": {"anyOf": [_reference("model"), _model_fields()]},
        # Names to complete, or any other: whether it is right is up to the condition below.
        **{
            kind: {"anyOf": [*one["anyOf"], {"type": "string"}]} for kind, one in registered.items()
        },
        **{f"registered_{kind}": one for kind, one in registered.items() if kind != "dataset"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A config of stn-cluster",
        "if": {"not": {"required": ["plugins"]}},
        "then": {"properties": _only_registered()},
    }


def _only_registered() -> Schema:
    model, recipe = _name_or_mapping("registered_model"), _name_or_mapping("registered_recipe")
    axes: Schema = {
        axis: {"items": model if kind == "model" else _reference(f"registered_{kind}")}
        for axis, kind in _AXES.items()
    }
    # A data set may also be files under the data root, which an editor does not know.
    fields = [name for name in _FIELDS if name != "dataset"]
    cell = {name: _reference(f"registered_{name}") for name in fields} | {"model": model}
    return {
        **axes,
        "recipe": recipe,
        "cells": {"items": {"properties": {**cell, "recipe": recipe}}},
    }


def _name_or_mapping(definition: str) -> Schema:
    """A name of a definition, alone or as the field `name`."""
    return {
        "if": {"type": "string"},
        "then": _reference(definition),
        "else": {"properties": {"name": _reference(definition)}},
    }


def _reference(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _choices(kind: Kind) -> list[Schema]:
    entries = [lookup(kind, name) for name in names(kind)]
    choices = [{"const": entry.name, "description": entry.summary} for entry in entries]
    if kind == "model":  # not loaded for a schema
        choices.append({"type": "string", "pattern": f"^{TORCHVISION}[a-z0-9_]+$"})
    if kind == "distortion":
        choices += [choice for entry in entries for choice in _variants(entry)]
        choices.append(
            {"type": "string", "pattern": f"^({'|'.join(map(_distortion_pattern, entries))})$"}
        )
    return choices


def _variants(entry: Entry) -> list[Schema]:
    return [
        {"const": f"{entry.name}:{variant}", "description": f"{entry.summary}; {canvas} pixels"}
        for variant, canvas in entry.shown_variants
    ]


def _distortion_pattern(entry: Entry) -> str:
    """Regular expression of a distortion's names with a variant, a canvas or both."""
    variants = [variant for variant, _ in (*entry.shown_variants, *entry.variants)]
    either = "|".join(map(re.escape, dict.fromkeys(variants)))
    return f"{re.escape(entry.name)}(:(({either})(-[0-9]{{1,6}})?|[0-9]{{1,6}}))?"


def _model_fields() -> Schema:
    """A mapping of a model's name and what is done with it."""
    model = _plain(ModelChoice.model_json_schema())
    fields = {name: _without_null(field) for name, field in model["properties"].items()}
    fields["name"] |= _reference("model")
    numbers = {"type": "number"}, {"type": "array", "items": {"type": "number"}}
    for name in ("mean", "std"):
        fields[name] = {"description": fields[name]["description"], "anyOf": list(numbers)}
    return {**model, "properties": fields}


def _recipe_fields() -> Schema:
    """A mapping of a recipe's name and changed fields."""
    recipe = _plain(Recipe.model_json_schema())
    fields = recipe["properties"]
    width = {"type": "integer", "minimum": 1, "maximum": MAX_FILTERS}
    pair = {"type": "array", "items": width, "minItems": 2, "maxItems": 2}
    fields["filters"] = fields["filters"] | {"anyOf": [width, pair]}
    own = {name: field for name, field in fields.items() if name != "by_model"}
    of_model = {"type": "object", "properties": own, "additionalProperties": False}
    by_model = fields["by_model"] | {"additionalProperties": of_model}
    # What a field is without a change is up to the recipe, not to the class of all recipes.
    changed = {name: _without_default(field) for name, field in own.items()}
    return {
        "type": "object",
        "description": recipe["description"],
        "properties": {
            "name": {"description": "The recipe whose fields are changed.", **_reference("recipe")},
            **changed,
            "by_model": _without_default(by_model),
        },
        "additionalProperties": False,
    }


def _without_default(field: Schema) -> Schema:
    return {name: value for name, value in field.items() if name != "default"}


def _without_null(field: Schema) -> Schema:
    """A field that a config leaves out rather than empty."""
    choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return field
    kept = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
    return {**choices[0], **kept}


def _plain(part: Any) -> Any:
    """A schema without pydantic's titles, and without line breaks in descriptions."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    plain = {
        name: _plain(value)
        for name, value in part.items()
        if not (name == "title" and isinstance(value, str))
    }
    if isinstance(text := plain.get("description"), str):
        plain["description"] = " ".join(text.split())
    return plain
