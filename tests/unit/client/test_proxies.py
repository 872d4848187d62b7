"""Proxies and certificates: whatever the environment says, a client works or has one line."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import certifi
import httpx
import pytest

from stn_cluster.client.http_client import Client
from stn_cluster.client.proxies import proxy_for
from stn_cluster.errors import ServiceError, UserError

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


def chosen(url: str) -> str | None:
    proxy = proxy_for(httpx.URL(url))
    return None if proxy is None else str(proxy)


# --- which proxy ---


def test_a_scheme_has_a_proxy_of_its_own_before_that_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert chosen("http://head:8267") == "http://all:1"
    monkeypatch.setenv("HTTPS_PROXY", "secure:2")
    assert chosen("https://head") == "http://secure:2"
    assert chosen("http://head") == "http://all:1"
    monkeypatch.setenv("http_proxy", "http://own:3")
    assert chosen("http://head") == "http://own:3"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "localhost.", "[::1]", "0.0.0.0"],
)
@pytest.mark.parametrize(
    "proxy", ["http://proxy:3128", "socks://proxy:1080", "nonsense://", "http://[", "://", "a b"]
)
def test_this_machine_is_reached_past_every_proxy(
    variable: str, host: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, proxy)
    assert chosen(f"http://{host}:8267/v1") is None
    Client(f"http://{host}:8267").close()


@pytest.mark.parametrize(
    ("no_proxy", "host", "past"),
    [
        ("head", "head", True),
        ("HEAD", "head", True),
        ("head", "ahead", False),
        ("example.com", "head.example.com", True),
        (".example.com", "head.example.com", True),
        ("*.example.com", "head.example.com", True),
        ("example.com", "badexample.com", False),
        ("a, head ,b", "head", True),
        ("a head", "head", True),
        ("http://head", "head", True),
        ("head:8267", "head", True),
        ("head:80", "head", False),
        ("*", "head", True),
        ("a,*", "head", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "head", False),
        ("[fd00::1]", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]", True),
        ("[fd00::1]:8267", "[fd00::1]", True),
        ("[fd00::1]:1", "[fd00::1]", False),
        ("fd00::/8", "[fd00::1]", True),
        ("[::1", "head", False),
        ("]", "head", False),
        ("[]", "head", False),
        (",,", "head", False),
        (":", "head", False),
        ("http://", "head", False),
        ("head:abc", "head", False),
        ("é", "head", False),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks_and_may_be_malformed(
    no_proxy: str, host: str, past: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (chosen(f"http://{host}:8267") is None) is past
    Client(f"http://{host}:8267").close()


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks4://proxy:1080", "proxy socks4://proxy:1080: one of http://HOST:PORT, https://"),
        ("socks://proxy:1080", "socks5://HOST:PORT"),
        ("ftp://proxy", "one of http://HOST:PORT"),
        ("http://", "one of http://HOST:PORT"),
        ("http://proxy:port", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://pro\x01xy", "not a URL"),
        ("foo://me:secret@proxy", "proxy foo://proxy: one of"),
    ],
)
def test_a_proxy_that_is_none_is_named_with_a_way_past_it(
    proxy: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UserError) as caught:
        Client("http://head:8267")
    assert told in str(caught.value)
    assert str(caught.value).endswith("NO_PROXY=head would go past it")
    assert "secret" not in str(caught.value)


def test_a_proxy_for_other_schemes_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://")
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080/")  # as desktops set it
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    Client("http://head:8267").close()


def test_socks_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stn_cluster.client.proxies.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(UserError, match=r"pip install 'httpx\[socks\]'"):
        Client("http://head:8267")


# --- what a failed connection says ---


class Refusing(http.server.BaseHTTPRequestHandler):
    """A proxy that lets nothing through."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_fails_behind_a_proxy_names_it(refusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
    for proxy, kind, told in ((refusing, UserError, "HTTP 403"), (dead, ServiceError, "no server")):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        with (
            Client("http://head.invalid:8267", patience=0) as client,
            pytest.raises(kind) as caught,
        ):
            client.jobs()
        shown = proxy.replace("me:secret@", "")
        assert f"http://head.invalid:8267 (through the proxy {shown}; NO_PROXY=" in str(
            caught.value
        )
        assert told in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a..b:8267", f"http://{'a' * 70}:8267", "http://:8267"])
def test_a_host_that_cannot_be_one_is_one_line(url: str) -> None:
    with pytest.raises(UserError), Client(url, patience=0) as client:
        client.jobs()


# --- certificates ---


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_missing_certificates_concern_encrypted_connections_only(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "none" / "here"))
    Client("http://head:8267").close()
    with pytest.raises(UserError) as caught:
        Client("https://head:8267")
    assert str(tmp_path / "none") in str(caught.value)
    assert "no certificates can be read" in str(caught.value)


def test_a_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "certificates.pem").write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificates.pem"))
    with pytest.raises(UserError, match=r"SSL_CERT_FILE=.*certificates\.pem"):
        Client("https://head:8267")


def test_certificates_of_the_environment_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Client("https://head:8267").close()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    Client("https://head:8267").close()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    with Client("https://head:8267") as client:
        pool = client._http._transport._pool  # type: ignore[attr-defined]
        assert pool._ssl_context.verify_mode is ssl.CERT_REQUIRED
        assert pool._ssl_context.get_ca_certs()
