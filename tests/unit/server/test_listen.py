"""Tests of the server's listen address."""

from __future__ import annotations

import socket

import pytest

from stn_cluster.errors import UserError
from stn_cluster.server.listen import ListenAddress

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_of_this_machine_is_left_free(host: str) -> None:
    listen = ListenAddress(host, 0)
    listen.check()
    listen.open().close()


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1, port {port}"):
            ListenAddress("127.0.0.1", port).check()


@pytest.mark.parametrize("host", ["256.0.0.1", "no.such.host.invalid"])
def test_an_address_of_no_machine_is_refused(host: str) -> None:
    with pytest.raises(UserError, match=f"cannot listen on {host}"):
        ListenAddress(host, 0, TOKEN).check()


@pytest.mark.parametrize(
    ("host", "token", "said"),
    [
        ("0.0.0.0", None, "needs a token"),
        ("127.0.0.1", "short", "at least 16 characters"),
        ("127.0.0.1", "t\u00f6ken-of-some-length", "ASCII letters"),
    ],
)
def test_a_token_that_does_not_do_is_refused(host: str, token: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ListenAddress(host, 0, token).check()
