"""Preparation of a job: plug-ins are used once, in a process that they cannot harm."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stn_cluster.cluster import preparation
from stn_cluster.cluster.preparation import check_plugins
from stn_cluster.config_file import parse_config
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve

SOURCE = """
import os, sys, time
from torch import nn
from stn_cluster import register_model

print("on its import")

@register_model("Wide")
def wide(task):
    print("and when it is built")
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 1000))

@register_model("Dies")
def dies(task):
    os._exit(3)

@register_model("Sticks")
def sticks(task):
    time.sleep(600)

@register_model("NeedsGPU")
def needs_gpu(task):
    raise RuntimeError("Found no NVIDIA driver on your system")

@register_model("Good")
def good(task):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, task.n_classes))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the plug-in, and time enough for a busy machine."""
    monkeypatch.setattr(preparation, "PREFLIGHT_SECONDS", 250.0)
    (tmp_path / "prepared_plugin.py").write_text(SOURCE)
    (tmp_path / "json.py").write_text("raise ImportError('not the json that was meant')")
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("prepared_plugin", None)


def cells_of(folder: Path, *models: str) -> list[Cell]:
    fields = {"plugins": ["prepared_plugin"], "models": list(models), "distortions": ["R"]}
    return resolve(parse_config({"recipe": "smoke", **fields}), folder=folder)


def test_what_is_wrong_is_told_by_name_in_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^model 'Wide' gave float32 \(4, 1000\) on cpu; expected"):
        check_plugins(cells_of(folder, "Good", "Wide"), None)


def test_nothing_is_known_of_a_plugin_that_ends_the_process_or_needs_a_gpu(folder: Path) -> None:
    check_plugins(cells_of(folder, "Dies"), None)
    check_plugins(cells_of(folder, "NeedsGPU"), None)


def test_a_plugin_that_takes_long_is_left_to_the_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PREFLIGHT_SECONDS", 0.1)
    check_plugins(cells_of(folder, "Sticks"), None)


def test_what_has_passed_once_is_not_checked_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(folder, "Good")
    check_plugins(cells, None)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    check_plugins([cell.model_copy(update={"seed": 7}) for cell in cells], None)
    check_plugins(resolve(parse_config({"distortions": ["R"]})), None)  # no plug-in at all
    with pytest.raises(FileNotFoundError):
        check_plugins(cells_of(folder, "Wide"), None)
