"""Paths as users write them: `~` is a home folder, wherever a path is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.graded_stores import commit, drawn
from support.records import make_record

import stn_cluster
from stn_cluster.cluster.make_jobs import grid_job
from stn_cluster.cluster.settings import make_settings
from stn_cluster.config_file import load_config
from stn_cluster.errors import UserError
from stn_cluster.networks import ModelChoice
from stn_cluster.paths import check_folder, user_path
from stn_cluster.planning.plan import plan_grid
from stn_cluster.store import Store, is_published


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, beside a working folder in which nothing is made."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def test_the_home_folder_stands_for_itself_only_at_the_beginning(home: Path) -> None:
    assert user_path("~") == home
    assert user_path("~/a b/é") == home / "a b" / "é"
    assert user_path(Path("~/a")) == home / "a"
    assert user_path("a/~/b") == Path("a/~/b")
    assert user_path("~root/a") == Path("/root/a")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("~nobody-of-this-name/a", "there is no home folder ~nobody-of-this-name"),
        ("a\0b", "a path cannot contain a null character"),
    ],
)
def test_what_is_no_path_is_one_line(path: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        user_path(path)


def test_every_place_that_is_given_a_path_knows_the_home_folder(home: Path) -> None:
    Store.open("~/store", create=True).commit([make_record()])
    assert (home / "store" / "cells").is_dir()
    assert len(stn_cluster.load_results("~/store")) == 1
    assert len(stn_cluster.load_predictions("~/store"))
    assert len(stn_cluster.comparison_table("~/store")) == 1
    commit(Store.open("~/graded", create=True), drawn({("CNN", "none"): 0.1}))
    intervals = stn_cluster.comparison_table("~/graded", interval=True, data_root="~/data")
    assert intervals["base_images"].notna().all()
    assert stn_cluster.compare("~/graded", "~/graded").kind == "stores"
    assert plan_grid([], "~/store").store == str(home / "store")
    assert not is_published("~/store")
    assert Store.is_at("~/store")
    (home / "mine.yaml").write_text("dataset: digits\nmodels: [CNN]\n")
    assert load_config("~/mine.yaml").models == (ModelChoice(name="CNN"),)
    assert grid_job("~/mine.yaml").folder == str(home)
    made = make_settings("~/store", data_root="~/data")
    assert (made.store, made.data_root) == (str(home / "store"), str(home / "data"))
    assert made.state == str(home / "store" / "queue")
    assert make_settings("s3://b/c", state="~/state").state == str(home / "state")
    assert list(Path().iterdir()) == []


def test_a_folder_that_can_be_made_is_not_there_after_the_check(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_folder(tmp_path / "file" / "a")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        check_folder(tmp_path / "file")
    with pytest.raises(OSError, match="nope"):
        check_folder(Path("/proc/nope/a"))
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
