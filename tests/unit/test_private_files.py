"""What other users of the machine may do with our files, told by permissions and by trying it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from stn_cluster.errors import UserError
from stn_cluster.private_files import (
    OWNER_ALONE,
    WITH_GROUP,
    close_file,
    close_folder,
    closed_to_others,
    refuse_writable,
    umask_for,
    write_private,
)

SOMEBODY = 65_534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def folder(path: Path, permissions: int) -> Path:
    path.mkdir()
    path.chmod(permissions)
    return path


def test_the_group_keeps_what_it_has_and_a_common_folder_is_no_groups(tmp_path: Path) -> None:
    own = folder(tmp_path / "own", 0o755)
    team = folder(tmp_path / "team", 0o2775)
    common = folder(tmp_path / "common", 0o1777)
    assert umask_for(own) == umask_for(own / "new" / "deep") == OWNER_ALONE
    assert umask_for(team) == umask_for(team / "new") == umask_for(own, team) == WITH_GROUP
    assert umask_for(common) == umask_for(common / "new") == OWNER_ALONE
    assert umask_for() == OWNER_ALONE


def test_what_is_made_within_is_closed_and_afterwards_all_is_as_before(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with closed_to_others(tmp_path):
            (tmp_path / "made").mkdir()
            (tmp_path / "made" / "file").touch()
        (tmp_path / "later").touch()
    finally:
        os.umask(before)
    assert mode(tmp_path / "made") == 0o700
    assert mode(tmp_path / "made" / "file") == 0o600
    assert mode(tmp_path / "later") == 0o644


def test_what_stands_open_is_closed(tmp_path: Path) -> None:
    state = folder(tmp_path / "state", 0o755)
    (state / "queue").touch()
    (state / "queue").chmod(0o664)
    close_folder(state)
    assert (mode(state), mode(state / "queue")) == (0o700, 0o600)
    team = folder(tmp_path / "team", 0o2775)
    (team / "queue").touch()
    (team / "queue").chmod(0o664)
    close_folder(team)
    assert (mode(team), mode(team / "queue")) == (0o2770, 0o660)
    close_folder(tmp_path / "nowhere")
    store = folder(tmp_path / "store", 0o757)
    (store / "cells").mkdir()
    assert refuse_writable(store)
    assert mode(store) == 0o755
    assert not refuse_writable(store)


@pytest.mark.parametrize("kind", ["link", "hard link", "file", "folder"])
def test_what_others_have_put_into_an_open_folder_is_not_taken_for_ours(
    tmp_path: Path, kind: str
) -> None:
    if kind in ("file", "folder") and os.geteuid() != 0:
        pytest.skip("needs root, to give a file to somebody else")
    (tmp_path / "important").write_text("mine")
    state = folder(tmp_path / "state", 0o1777)
    planted = state / "token"
    if kind == "link":
        planted.symlink_to(tmp_path / "important")
    elif kind == "hard link":
        planted.hardlink_to(tmp_path / "important")
    else:
        (planted.mkdir if kind == "folder" else planted.touch)()
        os.chown(planted, SOMEBODY, SOMEBODY)
    with pytest.raises(UserError, match=r"token: is (a link|somebody else's), in a folder into"):
        refuse_writable(state)
    (planted.rmdir if kind == "folder" else planted.unlink)()
    refuse_writable(state)
    assert mode(state) == 0o1775


def test_what_a_link_points_to_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "elsewhere").chmod(0o644)
    state = folder(tmp_path / "state", 0o700)
    (state / "queue").symlink_to(tmp_path / "elsewhere")
    close_folder(state)
    assert mode(tmp_path / "elsewhere") == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to somebody else")
def test_what_is_somebody_elses_is_refused(tmp_path: Path) -> None:
    theirs = folder(tmp_path / "theirs", 0o755)
    os.chown(theirs, SOMEBODY, SOMEBODY)
    reachable(tmp_path)
    with pytest.raises(UserError, match="may read it, and it is not yours"):
        as_user(lambda: close_file(theirs))
    theirs.chmod(0o757)
    with pytest.raises(UserError, match="chmod 755"):
        as_user(lambda: refuse_writable(theirs))


def reachable(path: Path) -> None:
    """Lets others reach a folder of the tests, but not list what is above it."""
    for folder in (path, *path.parents):
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o011)


def as_user(call: Callable[[], None]) -> None:
    os.seteuid(1)
    try:
        call()
    finally:
        os.seteuid(0)


def test_a_secret_is_never_open_not_even_for_a_moment(tmp_path: Path) -> None:
    file = tmp_path / "new" / "token"
    write_private(file, "secret")
    assert (mode(file), file.read_text()) == (0o600, "secret")
    file.chmod(0o644)
    write_private(file, "other")
    assert (mode(file), file.read_text()) == (0o600, "other")
    assert [path.name for path in file.parent.iterdir()] == ["token"]
    (tmp_path / "important").write_text("mine")
    for number in (os.getpid(), os.getpid() + 1):
        (file.parent / f".token.{number}").symlink_to(tmp_path / "important")
    write_private(file, "third")
    assert (tmp_path / "important").read_text() == "mine"
    file.chmod(0o640)
    close_file(file)
    assert mode(file) == 0o600
    close_file(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root")
def test_another_user_cannot_read_it(tmp_path: Path) -> None:
    reachable(tmp_path)
    file = tmp_path / "token"
    other = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]
    file.write_text("secret")
    file.chmod(0o644)
    assert subprocess.run([*other, "cat", file], capture_output=True).returncode == 0
    close_file(file)
    assert subprocess.run([*other, "cat", file], capture_output=True).returncode != 0
