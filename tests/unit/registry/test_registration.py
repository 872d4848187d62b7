"""Registration: names that configs can use, each from one plug-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.registry import load_plugins, lookup, names, resolve


def write(folder: Path, name: str, source: str) -> None:
    (folder / name).write_text(source)


def a_model(name: str) -> str:
    return (
        f"from stn_cluster import register_model\n@register_model({name!r})\ndef build(task): ...\n"
    )


@pytest.mark.parametrize("taken", ["CNN", "ST-FCN"])
def test_a_built_in_name_cannot_be_taken(tmp_path: Path, taken: str) -> None:
    write(tmp_path, "mine.py", a_model(taken))
    with pytest.raises(UserError, match=f"model '{taken}' is already registered by stn-cluster"):
        load_plugins(("mine",), [tmp_path])
    assert lookup("model", taken).plugin is None


def test_a_name_that_another_plugin_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Same"))
    write(tmp_path, "yours.py", a_model("Same"))
    with pytest.raises(UserError, match="model 'Same' is already registered by mine"):
        resolve(parse_config({"plugins": ["mine", "yours"]}), folder=tmp_path)
    assert lookup("model", "Same").plugin == "mine"


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "a/b", "a\nb", "a\x1b[31m", "-rf", "..", "a\u2003b"]
)
def test_a_name_that_labels_and_configs_could_not_hold_is_refused(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, "mine.py", a_model(name))
    with pytest.raises(UserError, match="model name"):
        load_plugins(("mine",), [tmp_path])


def test_components_are_registered_in_a_module_that_workers_can_import() -> None:
    with pytest.raises(UserError, match="a module of their own"):
        exec(a_model("Mine"), {"__name__": "__main__"})
    assert "Mine" not in names("model")


@pytest.mark.parametrize(
    "target", ["functools.partial(build, 1)", "collections.OrderedDict", "Callable()"]
)
def test_a_component_that_is_defined_elsewhere_belongs_to_the_plugin_that_registers_it(
    tmp_path: Path, target: str
) -> None:
    write(
        tmp_path,
        "mine.py",
        "import collections, functools\nfrom stn_cluster import register_model\n"
        "def build(n, task): ...\nclass Callable:\n    def __call__(self, task): ...\n"
        f"register_model('Mine')({target})\n",
    )
    load_plugins(("mine",), [tmp_path])
    assert lookup("model", "Mine").plugin == "mine"


@pytest.mark.parametrize("variants", ['{"v2": 28}', '{"Strong": 28}', '{"a:b": 28}', '{"a": 20}'])
def test_a_variant_that_no_config_could_name_is_refused(tmp_path: Path, variants: str) -> None:
    write(
        tmp_path,
        "mine.py",
        "from stn_cluster import register_distortion\n"
        f"@register_distortion('Q', variants={variants})\ndef quake(variant, canvas): ...\n",
    )
    with pytest.raises(UserError, match="distortion 'Q'"):
        load_plugins(("mine",), [tmp_path])
