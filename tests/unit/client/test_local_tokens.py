"""Tokens that services of this user have made, and who finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stn_cluster import Client
from stn_cluster.client.local_tokens import TOKEN_FILE, find_token, note_service
from stn_cluster.private_files import write_private


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "notes"))
    monkeypatch.delenv("STN_CLUSTER_TOKEN", raising=False)
    write_private(tmp_path / "state" / TOKEN_FILE, "made-by-the-service\n")
    return tmp_path / "state"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_service_of_this_user_is_found_by_each_of_its_names(state: Path, host: str) -> None:
    note = note_service("127.0.0.1", 8267, state)
    assert note.stat().st_mode & 0o777 == 0o600
    assert note.parent.stat().st_mode & 0o077 == 0
    assert find_token(host, 8267) == "made-by-the-service"
    shown = f"[{host}]" if ":" in host else host
    client = Client(f"http://{shown}:8267")
    assert client._http.headers["authorization"] == "Bearer made-by-the-service"


def test_nobody_elses_service_gets_it(state: Path) -> None:
    note_service("127.0.0.1", 8267, state)
    assert find_token("127.0.0.1", 8268) is None
    assert find_token("head.example", 8267) is None
    assert "authorization" not in Client("http://head.example:8267")._http.headers


def test_a_given_token_goes_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_service("127.0.0.1", 8267, state)
    monkeypatch.setenv("STN_CLUSTER_TOKEN", "given")
    assert Client("http://127.0.0.1:8267")._http.headers["authorization"] == "Bearer given"


def test_what_others_could_have_written_is_not_believed(state: Path) -> None:
    note = note_service("127.0.0.1", 8267, state)
    note.chmod(0o666)
    assert find_token("127.0.0.1", 8267) is None
    note.chmod(0o600)
    (state / TOKEN_FILE).chmod(0o644)
    assert find_token("127.0.0.1", 8267) is None
    (state / TOKEN_FILE).unlink()
    assert find_token("127.0.0.1", 8267) is None
