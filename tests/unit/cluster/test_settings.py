"""Settings: what makes no sense is refused, and places are full paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stn_cluster import UserError
from stn_cluster.cluster.settings import Settings, make_settings


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("workers", 0, "workers: at least 1, not 0"),
        ("threads_per_worker", 0, "threads per worker: at least 1, not 0"),
        ("cells_per_pack", 0, "cells per pack: at least 1, not 0"),
        ("checkpoint_steps", 0, "checkpoint steps: at least 1, not 0"),
        ("checkpoint_seconds", 0, "checkpoint seconds: more than 0, not 0"),
        ("no_progress_seconds", 0.0, "no progress seconds: more than 0, not 0.0"),
        ("no_progress_seconds", float("nan"), "no progress seconds: more than 0, not nan"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_wherever_settings_are_made(
    tmp_path: Path, field: str, value: Any, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        Settings(store="store", state="state", **{field: value})
    assert str(caught.value) == told
    with pytest.raises(UserError) as caught:
        make_settings(tmp_path, **{field: value})
    assert str(caught.value) == told


def test_an_unknown_setting_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown setting 'worker': did you mean 'workers'"):
        make_settings(tmp_path, worker=2)


def test_places_are_full_paths_and_the_state_is_in_a_local_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_settings("store", data_root="data")
    assert made.store == str(tmp_path / "store")
    assert made.state == str(tmp_path / "store" / "queue")
    assert made.data_root == str(tmp_path / "data")
    assert make_settings("store", state="mine").state == str(tmp_path / "mine")


def test_a_store_elsewhere_needs_a_state_folder() -> None:
    with pytest.raises(UserError, match=r"^s3://bucket/store: a store that is not on this machine"):
        make_settings("s3://key:secret@bucket/store?region=here")


def test_slashes_at_the_end_of_a_store_make_no_other_store(tmp_path: Path) -> None:
    assert make_settings(f"{tmp_path}/store//").store == str(tmp_path / "store")
    assert make_settings("s3://b/c//?region=x", state="s").store == "s3://b/c?region=x"


def test_making_settings_makes_no_folder(tmp_path: Path) -> None:
    make_settings(tmp_path / "store", state=tmp_path / "state", data_root=tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
