"""Tokens that services of this user have made, and who finds them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stn_cluster import Client
from stn_cluster.client.local_tokens import TOKEN_FILE, find_token, note_service
from stn_cluster.errors import ServiceError
from stn_cluster.private_files import write_private


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "notes"))
    monkeypatch.delenv("STN_CLUSTER_TOKEN", raising=False)
    write_private(tmp_path / "state" / TOKEN_FILE, "made-by-the-service\n")
    return tmp_path / "state"


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A socket that listens within the block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        yield server


@contextmanager
def another_user() -> Iterator[None]:
    """Within the block, sockets are somebody else's."""
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to listen as somebody else")


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def request_of(server: socket.socket, url: str) -> str:
    """What a client asks of a server that hangs up."""
    heard: list[bytes] = []

    def hear() -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(connection.recv(10_000))

    thread = threading.Thread(target=hear)
    thread.start()
    with Client(url, patience=0) as client, pytest.raises(ServiceError):
        client.jobs()
    thread.join()
    return heard[0].decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_of_this_user_is_found_by_each_of_its_names(state: Path, host: str) -> None:
    with listening() as server:
        note = note_service("127.0.0.1", port_of(server), state)
        assert note.stat().st_mode & 0o777 == 0o600
        assert note.parent.stat().st_mode & 0o077 == 0
        assert find_token(host, port_of(server)) == "made-by-the-service"
        asked = request_of(server, f"http://{host}:{port_of(server)}")
        assert "Authorization: Bearer made-by-the-service\r\n" in asked


def test_nobody_elses_service_gets_it(state: Path) -> None:
    with listening() as server, listening() as other:
        note_service("127.0.0.1", port_of(server), state)
        assert find_token("127.0.0.1", port_of(other)) is None
        assert find_token("head.example", port_of(server)) is None
        assert "Authorization" not in request_of(other, f"http://127.0.0.1:{port_of(other)}")


@NEEDS_ROOT
def test_who_took_the_port_of_a_server_that_has_gone_gets_nothing(state: Path) -> None:
    with listening() as server:
        port = port_of(server)
    note_service("127.0.0.1", port, state)
    assert find_token("127.0.0.1", port) is None  # nobody listens
    with ExitStack() as stack:
        with another_user():
            theirs = stack.enter_context(listening(port=port))
        assert find_token("127.0.0.1", port) is None
        assert "Authorization" not in request_of(theirs, f"http://127.0.0.1:{port}")


@NEEDS_ROOT
@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_who_listens_at_the_other_address_of_the_same_name_gets_nothing(
    state: Path, host: str
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(listening())
        port = port_of(server)
        note_service("127.0.0.1", port, state)
        with another_user():
            stack.enter_context(listening("::1", port))
        assert find_token(host, port) is None
        assert find_token("127.0.0.1", port) == "made-by-the-service"


def test_a_server_that_was_not_there_yet_is_found_later(state: Path) -> None:
    with listening() as reserved:
        port = port_of(reserved)
    with Client(f"http://127.0.0.1:{port}", patience=0) as client:
        with pytest.raises(ServiceError):
            client.jobs()
        note_service("127.0.0.1", port, state)
        with listening(port=port):
            request = client._http.build_request("GET", "/jobs")
            next(client._http.auth.auth_flow(request))  # type: ignore[union-attr]
            assert request.headers["authorization"] == "Bearer made-by-the-service"


def test_a_given_token_goes_first(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        note_service("127.0.0.1", port_of(server), state)
        monkeypatch.setenv("STN_CLUSTER_TOKEN", "given")
        asked = request_of(server, f"http://127.0.0.1:{port_of(server)}")
        assert "Authorization: Bearer given\r\n" in asked


def test_what_others_could_have_written_is_not_believed(state: Path) -> None:
    with listening() as server:
        port = port_of(server)
        note = note_service("127.0.0.1", port, state)
        assert find_token("127.0.0.1", port)
        note.chmod(0o666)
        assert find_token("127.0.0.1", port) is None
        note.chmod(0o600)
        (state / TOKEN_FILE).chmod(0o644)
        assert find_token("127.0.0.1", port) is None
        (state / TOKEN_FILE).rename(state / "moved")
        (state / "moved").chmod(0o600)
        (state / TOKEN_FILE).symlink_to("moved")
        assert find_token("127.0.0.1", port) is None
        (state / TOKEN_FILE).unlink()
        assert find_token("127.0.0.1", port) is None
