"""Plug-ins: a user's own modules, written to a folder and imported as `plugins:` would."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import load_plugins, lookup, names, resolve

ALL_FIVE = """
from stn_cluster import (
    register_dataset, register_distortion, register_model, register_recipe, register_transform
)
from stn_cluster.recipes import smoke

@register_model("Mine", cost=3.0)
def model(task): ...

@register_model("ST-Mine", spatial=True)
def spatial_model(task): ...

@register_transform("shear")
class Shear: ...

@register_distortion("N", canvas=32)
def noise(variant, canvas): ...

@register_distortion("Q", variants={"weak": 28, "strong": 40})
def quake(variant, canvas): ...

def check(root): ...

@register_dataset("letters", prepare=check)
def letters(root): ...

@register_recipe("brief")
def brief():
    return smoke().model_copy(update={"iterations": 3})
"""


def write(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    importlib.invalidate_caches()
    return path


def a_model(name: str, body: str = "pass") -> str:
    return (
        "from stn_cluster import register_model\n\n"
        f"@register_model({name!r})\ndef build(task):\n    {body}\n"
    )


def keys_of(**fields: Any) -> dict[str, str]:
    return {cell.label: cell.key for cell in cells_of(**fields)}


def cells_of(**fields: Any) -> list[Cell]:
    return resolve(parse_config({"recipe": "smoke", "distortions": ["R"], **fields}))


def test_what_a_plugin_registers_takes_part_in_the_grid(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", ALL_FIVE)
    config = {
        "plugins": ["mine"],
        "models": ["CNN", "Mine", "ST-Mine"],
        "transforms": ["none", "shear"],
        "distortions": ["N", "Q", "Q:strong-42"],
        "dataset": "letters",
        "recipe": {"name": "brief", "batch_size": 8},
    }
    cells = resolve(parse_config(config), folder=tmp_path)
    assert [cell.label for cell in cells[::3]] == [
        "CNN/none/N/seed0",
        "Mine/none/N/seed0",
        "ST-Mine/shear/N/seed0",
    ]
    assert [(c.distortion, c.variant, c.canvas) for c in cells[:3]] == [
        ("N", "plain", 32),
        ("Q", "weak", 28),
        ("Q:strong-42", "strong", 42),
    ]
    assert {cell.settings["iterations"] for cell in cells} == {3}
    assert {cell.recipe[:6] for cell in cells} == {"brief+"}
    assert {cell.plugins for cell in cells} == {("mine",)}


def test_what_is_registered_is_what_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", ALL_FIVE)
    load_plugins(("mine",), [tmp_path])
    module = sys.modules["mine"]
    assert lookup("model", "Mine").load() is module.model
    assert lookup("model", "Mine").cost == 3.0
    assert lookup("model", "ST-Mine").spatial
    assert lookup("transform", "shear").load() is module.Shear
    assert lookup("dataset", "letters").load_prepare() is module.check
    assert lookup("recipe", "brief").load()().iterations == 3
    assert names("distortion") == ["R", "RTS", "P", "E", "N", "Q"]


def test_a_search_folder_is_looked_in_only_while_plugins_are_loaded(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine"))
    before = list(sys.path)
    load_plugins(("mine",), [tmp_path])
    assert sys.path == before
    with pytest.raises(UserError, match="'yours' does not import"):
        load_plugins(("yours",), [tmp_path])
    assert sys.path == before


def test_a_revision_is_the_hash_of_the_source(tmp_path: Path) -> None:
    for folder, body in (("a", "return 1"), ("b", "return 1"), ("c", "return 2")):
        write(tmp_path / folder, "mine.py", a_model("Mine", body))
    revisions = []
    for folder in "abc":
        load_plugins(("mine",), [tmp_path / folder])
        revisions.append(lookup("model", "Mine").revision)
    assert revisions[0] == revisions[1] != revisions[2]
    assert all(isinstance(revision, str) and len(revision) == 12 for revision in revisions)


def test_editing_a_plugin_changes_the_keys_of_the_cells_that_use_it_and_of_no_others(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "mine.py", a_model("Mine"))
    write(tmp_path, "yours.py", a_model("Yours"))
    load_plugins(("mine", "yours"), [tmp_path])
    before = keys_of(models=["CNN", "Mine", "Yours"])
    path.write_text(a_model("Mine", "return None  # edited"))
    load_plugins(("mine",), [tmp_path])
    after = keys_of(models=["CNN", "Mine", "Yours"])
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {"Mine/none/R/seed0"}


def test_a_plugins_recipe_gives_its_settings_and_not_its_source_to_the_key(tmp_path: Path) -> None:
    source = (
        "from stn_cluster import register_recipe\nfrom stn_cluster.recipes import smoke\n"
        "\n@register_recipe('brief')\ndef brief():\n    return smoke()\n"
    )
    path = write(tmp_path, "mine.py", source)
    load_plugins(("mine",), [tmp_path])
    (before,) = cells_of(models=["CNN"], recipe="brief")
    path.write_text(source + "# a remark\n")
    load_plugins(("mine",), [tmp_path])
    (after,) = cells_of(models=["CNN"], recipe="brief")
    assert before == after
    assert before.plugins == ()  # the cell has all that the recipe says
    assert before.key == cells_of(models=["CNN"])[0].key


def test_a_package_is_known_by_all_its_files(tmp_path: Path) -> None:
    write(tmp_path, "pack/__init__.py", "from . import nets\n")
    write(tmp_path, "pack/nets.py", a_model("Mine"))
    helper = write(tmp_path, "pack/deep/helper.py", "x = 1\n")
    write(tmp_path, "pack/notes.txt", "one")

    def revision() -> object:
        load_plugins(("pack",), [tmp_path])
        return lookup("model", "Mine").revision

    revisions = [revision(), revision()]
    write(tmp_path, "pack/notes.txt", "two")
    revisions.append(revision())
    helper.write_text("x = 2\n")
    revisions.append(revision())
    helper.rename(helper.with_name("renamed.py"))
    revisions.append(revision())
    write(tmp_path, "pack/__pycache__/nets.cpython-311.pyc", "")
    write(tmp_path, "pack/.hidden", "")
    revisions.append(revision())
    first, second, *others, hidden = revisions
    assert first == second
    assert len({first, *others}) == 4
    assert hidden == others[-1]


def test_a_module_of_a_package_stands_for_the_whole_package(tmp_path: Path) -> None:
    write(tmp_path, "pack/__init__.py", "")
    write(tmp_path, "pack/nets.py", a_model("Yours"))
    load_plugins(("pack.nets",), [tmp_path])
    (cell,) = cells_of(models=["Yours"])
    assert cell.plugins == ("pack.nets",)
    write(tmp_path, "pack/other.py", "x = 1")
    load_plugins(("pack.nets",), [tmp_path])
    assert cells_of(models=["Yours"])[0].key != cell.key


def test_a_plugin_edited_in_a_running_process_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", a_model("Mine", "return 'old'"))
    load_plugins(("mine",), [tmp_path])
    old = lookup("model", "Mine")
    load_plugins(("mine",), [tmp_path])
    assert lookup("model", "Mine") == old
    write(tmp_path, "mine.py", a_model("Mine", "return 'newer'"))
    load_plugins(("mine",), [tmp_path])
    assert lookup("model", "Mine").revision != old.revision
    assert lookup("model", "Mine").load()(None) == "newer"


def test_two_configs_with_a_plugin_of_one_name_each_get_their_own(tmp_path: Path) -> None:
    for folder in "ab":
        write(tmp_path / folder, "mine.py", a_model("Mine", "import utils; return utils.x"))
        write(tmp_path / folder, "utils.py", f"x = {folder!r}")
    keys = []
    for folder in "aba":
        config = {"recipe": "smoke", "plugins": ["mine"], "models": ["Mine"], "distortions": ["R"]}
        [cell] = resolve(parse_config(config), folder=tmp_path / folder)
        keys.append(cell.key)
        assert lookup("model", "Mine").load()(None) == folder
    assert keys[0] == keys[2] != keys[1]


def test_a_module_beside_a_plugin_goes_before_one_of_its_name_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "mine.py", a_model("Mine", "import utils; return utils.x"))
    write(tmp_path, "utils.py", "x = 'mine'")
    write(tmp_path / "configs", "utils.py", "x = 'of the config'")
    write(tmp_path / "configs", "yours.py", a_model("Yours"))
    load_plugins(["mine", "yours"], [tmp_path / "configs"])
    assert lookup("model", "Mine").load()(None) == "mine"
    write(tmp_path / "configs", "yours.py", a_model("Yours", "import utils"))
    with pytest.raises(UserError, match=r"'mine' and 'yours' both have a module 'utils' \(.*utils"):
        load_plugins(["mine", "yours"], [tmp_path / "configs"])


def test_the_configs_folder_is_searched_before_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "mine.py", a_model("Mine", "return 'here'"))
    write(tmp_path / "configs", "mine.py", a_model("Mine", "return 'beside the config'"))
    load_plugins(["mine"], [tmp_path / "configs"])
    assert lookup("model", "Mine").load()(None) == "beside the config"


def test_after_a_failed_import_a_mended_helper_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "import helper\n" + a_model("Mine", "return helper.x"))
    write(tmp_path, "helper.py", "y = 1")
    path = write(tmp_path, "late.py", "raise ValueError('not yet')")
    write(tmp_path, "mine.py", a_model("Mine", "return helper.x") + "import helper\nimport late\n")
    with pytest.raises(UserError, match="not yet"):
        load_plugins(["mine"], [tmp_path])
    assert "Mine" not in names("model")
    path.write_text("")
    write(tmp_path, "helper.py", "x = 2")
    load_plugins(["mine"], [tmp_path])
    assert lookup("model", "Mine").load()(None) == 2


def test_threads_that_load_plugins_of_one_name_each_make_their_own_cells(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / str(number), "mine.py", a_model("Mine", f"return {number}"))

    def key(number: int) -> str:
        config = {"recipe": "smoke", "plugins": ["mine"], "models": ["Mine"], "distortions": ["R"]}
        return resolve(parse_config(config), folder=tmp_path / str(number))[0].key

    alone = [key(number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(key, range(8))) == alone
    assert len(set(alone)) == 8
