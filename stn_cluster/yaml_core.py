"""YAML by the rules of YAML 1.2's core schema, for plain data.

PyYAML follows YAML 1.1, in which 010 is eight, 1:30 ninety, `no` false, 1e3 a text and 2026-01-31 a
date. Here they are ten, two texts, a number and a text, as in JSON and in newer libraries.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

# ValueError: a number of too many digits; RecursionError: thousands of nested brackets.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def read_yaml(text: str) -> Any:
    """The data of one YAML document: dicts, lists, texts, numbers, true, false and null.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is not valid, or gives a key twice; see
            NOT_YAML.
    """
    return yaml.load(text, Loader=_CoreLoader)


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the types of the core schema only; it refuses a key that is given twice
    instead of silently keeping the last."""

    yaml_implicit_resolvers: dict[Any, Any] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return node


def _scalar(kind: str, pattern: re.Pattern[str], convert: Any) -> None:
    """Adds a type of plain scalars to the loader."""
    tag = f"tag:yaml.org,2002:{kind}"

    def construct(loader: yaml.SafeLoader, node: Any) -> Any:
        text = str(loader.construct_scalar(node))
        if not pattern.fullmatch(text):  # only with an explicit tag, as in !!int abc
            raise ConstructorError(None, None, f"not of type {kind}: {text!r}", node.start_mark)
        return convert(text)

    whole = re.compile(rf"(?:{pattern.pattern})\Z")  # PyYAML compares beginnings
    _CoreLoader.add_implicit_resolver(tag, whole, None)
    _CoreLoader.add_constructor(tag, construct)


def _to_int(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _to_float(text: str) -> float:
    special = {"inf": math.inf, "nan": math.nan}.get(text.lstrip("+-.").lower())
    if special is None:
        return float(text)
    return -special if text.startswith("-") else special


_scalar("null", _NULL, lambda text: None)
_scalar("bool", _BOOL, lambda text: text.lower() == "true")
_scalar("int", _INT, _to_int)  # before float, which also matches whole numbers
_scalar("float", _FLOAT, _to_float)
# Merge keys are of YAML 1.1, but in wide use.
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])
_plain: Any = _CoreLoader
for _kind in ("str", "seq", "map"):
    _plain.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(_plain, f"construct_yaml_{_kind}"))
_plain.add_constructor(None, _plain.construct_undefined)
