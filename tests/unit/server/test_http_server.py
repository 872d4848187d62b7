"""The server itself, under clients that connect and do not go on."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from stn_cluster.server import page_routes, request_limits, security, timed_protocol
from stn_cluster.server.app import create_app
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store

HALF = b"GET /v1/page HTTP/1.1\r\nHost: 127.0.0.1\r\n"
HALF_A_BODY = (
    b"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    app = create_app(StoreBackend(store))
    with ListenAddress(port=0).open() as listening, http_server(app, listening) as server:
        yield server.url


def connected(url: str, sent: bytes = b"") -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    connection.sendall(sent)
    return connection


def test_those_who_do_not_go_on_keep_nobody_out(url: str) -> None:
    held = [connected(url, HALF if number % 2 else b"") for number in range(1010)]
    try:
        assert httpx.get(f"{url}/v1/health", timeout=20).status_code == 200
        assert httpx.get(f"{url}/v1/page", timeout=20).status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_a_process_that_may_open_few_files_answers_whoever_asks(store: Store) -> None:
    limits = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); "
    start = "from stn_cluster.cli import main; main()"
    view = ["view", str(store.uri), "--port=0", "--no-token"]
    process = subprocess.Popen(
        [sys.executable, "-c", limits + start, *view],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip().rstrip("/")
    held = [connected(url, HALF) for _ in range(400)]
    with suppress(httpx.TransportError):  # in which case it says why
        for path in ("/v1/health", "/v1/page"):
            assert httpx.get(url + path, timeout=20).status_code == 200
    for connection in held:
        connection.close()
    process.kill()
    _, said = process.communicate(timeout=30)
    assert "Too many open files" not in said


@pytest.mark.parametrize(
    "sent", [b"", b"G", HALF, HALF.replace(b"page", b"health") + b"\r\n" + HALF]
)
def test_a_request_that_does_not_come_is_ended(
    url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_protocol, "HEADER_SECONDS", 0.3)
    with connected(url, sent) as connection:
        while connection.recv(10_000):
            pass  # the answer to the first of two
    # This is reached as the server has closed it; else the socket's own time is over.


def test_headers_that_drip_do_not_last_longer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_protocol, "HEADER_SECONDS", 0.5)
    began = time.monotonic()
    with connected(url, HALF) as connection, suppress(ConnectionError):
        while time.monotonic() < began + 20:
            connection.sendall(b"X-More: 1\r\n")
            time.sleep(0.05)
    assert time.monotonic() < began + 20


def test_a_body_that_does_not_come_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_SECONDS", 0.3)
    with connected(url, HALF_A_BODY) as connection:
        assert b" 408 " in connection.recv(10_000).partition(b"\r\n")[0]


def send_for_ever(connection: socket.socket, sent: bytes) -> None:
    while True:
        connection.sendall(100 * sent)


def test_an_answer_that_nobody_reads_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_protocol, "READ_SECONDS", 0.5)
    ask = b"GET /page/main.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(url)
        connection.connect((parts.hostname, parts.port))
        connection.settimeout(20)
        with pytest.raises(ConnectionError):  # not TimeoutError: it is ended
            send_for_ever(connection, ask)


def test_an_answer_may_take_longer_than_a_request(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed_protocol, "HEADER_SECONDS", 0.2)
    whole = Store.results
    monkeypatch.setattr(
        Store, "results", lambda *given, **more: time.sleep(1) or whole(*given, **more)
    )
    assert httpx.get(f"{url}/v1/matrix", timeout=30).status_code == 200


TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(store: Store) -> Iterator[str]:
    """With a token."""
    app = create_app(StoreBackend(store), TOKEN)
    with ListenAddress(port=0).open() as listening, http_server(app, listening) as server:
        yield server.url


def test_those_without_a_token_keep_those_with_one_from_nothing(guarded: str) -> None:
    held = [connected(guarded, HALF_A_BODY) for _ in range(request_limits.MOST_AT_ONCE + 10)]
    deadline = time.monotonic() + 20
    while (refused := httpx.get(f"{guarded}/", timeout=20)).status_code != 429:
        assert time.monotonic() < deadline
    assert "without a token" in refused.json()["error"]["message"]
    # Nor under an address that they say a proxy has seen.
    said = {"X-Forwarded-For": "192.0.2.1"}
    assert httpx.get(f"{guarded}/", headers=said, timeout=20).status_code == 429
    for path in ("/v1/page", "/", "/v1/matrix"):
        assert httpx.get(guarded + path, headers=BEARER, timeout=20).status_code == 200
    for connection in held:
        connection.close()


def test_nothing_is_remembered_of_names_that_nobody_has(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for number in range(50):
            assert client.get(f"/page/none-{number}.js").status_code == 404
    kept = [one.cache_info() for one in vars(page_routes).values() if hasattr(one, "cache_info")]
    assert kept
    assert all(info.currsize <= 1 for info in kept)


def test_a_body_of_two_lengths_is_refused_and_what_follows_is_no_request(url: str) -> None:
    sent = HALF_A_BODY.replace(
        b"\r\n\r\n{", b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    answer = b""
    with connected(url, sent + b"GET /v1/page HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as connection:
        while more := connection.recv(10_000):
            answer += more
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("path", ["/v1/docs/", "/v1/page/", "//evil.example/"])
def test_a_slash_too_many_leads_nowhere(url: str, path: str) -> None:
    with connected(url, b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()) as one:
        assert b" 404 " in one.recv(10_000).partition(b"\r\n")[0]


def test_one_address_does_not_get_all_and_health_is_always_answered(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "MOST_AT_ONCE", 3)
    held = [connected(url, HALF_A_BODY) for _ in range(3)]
    deadline = time.monotonic() + 20
    while (refused := httpx.get(f"{url}/v1/page", timeout=20)).status_code != 429:
        assert time.monotonic() < deadline
    assert "more than 3 requests" in refused.json()["error"]["message"]
    assert httpx.get(f"{url}/v1/health", timeout=20).status_code == 200
    for connection in held:
        connection.close()
    while httpx.get(f"{url}/v1/page", timeout=20).status_code != 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("path", ["/", "/v1/health", "/v1/page", "/v1/results", "/v1/nothing"])
def test_head_is_get_without_a_body(url: str, path: str) -> None:
    head, get = (httpx.request(method, url + path, timeout=20) for method in ("HEAD", "GET"))
    assert head.status_code == get.status_code
    assert not head.content
    assert head.headers["content-type"] == get.headers["content-type"]
