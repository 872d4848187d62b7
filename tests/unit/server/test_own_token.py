"""The token that a service makes for itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stn_cluster.errors import StoreError
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.serve import _noted, own_token


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    token = own_token(tmp_path)
    assert len(token) == 64
    assert own_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "\n", "short\n", "with a space in it, and long\n"])
def test_one_that_is_none_is_made_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    assert len(own_token(tmp_path)) == 64


def test_one_that_others_could_read_or_write_is_made_anew(tmp_path: Path) -> None:
    first = own_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    second = own_token(tmp_path)
    assert second != first
    assert own_token(tmp_path, renew=True) not in (first, second)


def test_a_disk_that_takes_none_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="token: cannot be written: No space left"):
        own_token(tmp_path)
    assert list(tmp_path.iterdir()) == []  # nothing that would be taken for a token later


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_where_no_note_can_be_made_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    own_token(tmp_path)
    with ListenAddress(port=0).open() as listening, _noted(ListenAddress(), listening, tmp_path):
        pass
    assert "clients do not find" in caplog.text
