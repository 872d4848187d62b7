"""Folders of killed runs are removed, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stn_cluster.cluster.abandoned_runs import PREFIX, WORK, marked, remove_abandoned


def make_folder(place: Path, name: str, mark: bool = True) -> Path:
    """The folder of a run that was killed; without the mark, it is somebody else's."""
    folder = place / f"{PREFIX}{name}"
    (folder / WORK).mkdir(parents=True)
    (folder / "r").mkdir()
    if mark:
        (folder / "running").touch()
    return folder


def test_only_folders_of_dead_runs_are_removed(tmp_path: Path) -> None:
    dead, living = make_folder(tmp_path, "dead"), make_folder(tmp_path, "living")
    unmarked = make_folder(tmp_path, "unmarked", mark=False)
    linked = tmp_path / "elsewhere" / "linked"
    make_folder(tmp_path / "elsewhere", "kept").rename(linked)
    (tmp_path / f"{PREFIX}link").symlink_to(linked)
    (tmp_path / f"{PREFIX}file").touch()
    with marked(living):
        remove_abandoned(tmp_path)
        assert not dead.exists()
        assert living.exists()
    assert unmarked.exists()
    assert linked.exists()
    remove_abandoned(tmp_path)
    assert not living.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    theirs = make_folder(tmp_path, "theirs")
    os.chown(theirs, 12_345, 12_345)
    remove_abandoned(tmp_path)
    assert theirs.exists()


def test_what_still_runs_there_is_ended_if_it_is_rays(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "dead")
    sleep = "import time; print(flush=True); time.sleep(60)"
    agent, person, elsewhere = (
        subprocess.Popen(
            [name, "-c", sleep], executable=sys.executable, cwd=cwd, stdout=subprocess.PIPE
        )
        for name, cwd in (
            ("ray::Agent", folder / WORK),
            ("less", folder / WORK),
            ("ray::X", folder),
        )
    )
    try:
        for process in (agent, person, elsewhere):
            assert process.stdout
            process.stdout.readline()  # it is there
        remove_abandoned(tmp_path)
        assert agent.wait(10) == -9
        assert (person.poll(), elsewhere.poll()) == (None, None)
        assert not folder.exists()
    finally:
        for process in (agent, person, elsewhere):
            process.kill()
            process.communicate()


def test_a_place_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "none")
