"""The token that a service makes for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from stn_cluster.server.serve import own_token


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
