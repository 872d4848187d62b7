"""YAML: the core schema of YAML 1.2, in which a plain word is what it looks like."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from stn_cluster.yaml_core import NOT_YAML, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("010", 10),  # 8 in YAML 1.1
        ("-07", -7),
        ("+3", 3),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),  # 90
        ("12:30:45.5", "12:30:45.5"),
        ("1e3", 1000.0),  # a text
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("yes", "yes"),  # true
        ("No", "No"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),  # a date
        ("=", "="),
        ("'010'", "010"),
        ("!!str 010", "010"),
        ("!!float 1", 1.0),
        ("!!int '7'", 7),
        ("[yes, 010]", ["yes", 10]),
        ("{1: a, no: b}", {1: "a", "no": "b"}),
        ("- &a {x: 1}\n- {<<: *a, y: 2}", [{"x": 1}, {"x": 1, "y": 2}]),
    ],
)
def test_a_value_is_what_the_core_schema_says(text: str, value: Any) -> None:
    found = read_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(read_yaml(".NaN"))


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp 2026-01-31",
        "!!timestamp soon",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!bool yes",
        "!!int abc",
        "!!float 1:30",
        "!!python/name:os.system",
        "!mine 3",
        "{a: 1, a: 2}",
        "{<<: 3}",
        "[a",
        "a: 1\n---\nb: 2",
        "9" * 5000,
        "[" * 5000,
    ],
)
def test_anything_else_is_refused_as_an_error_of_yaml(text: str) -> None:
    with pytest.raises(NOT_YAML) as caught:
        read_yaml(text)
    assert not isinstance(caught.value, UnicodeError)


def test_pyyaml_would_read_otherwise() -> None:
    """What the module is for; should it fail, PyYAML has changed and the module may go."""
    assert yaml.safe_load("[010, 1:30, no, 1e3]") == [8, 90, False, "1e3"]
