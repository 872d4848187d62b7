"""URLs that no connection can be made to: refused at once, wherever one is given."""

from __future__ import annotations

import httpx
import pytest

from stn_cluster import Client
from stn_cluster.client.proxies import proxy_for
from stn_cluster.client.urls import why_unusable
from stn_cluster.errors import UserError

PORT = ": a port is a number from 1 to 65535"
UNUSABLE = [
    *((f"http://h:{port}", f"port {port}{PORT}") for port in (0, -1, 65_536, 10**20)),
    ("http://[::1]:0", f"port 0{PORT}"),
    *((f"http://{host}", f"{host!r} is not the name of a host") for host in ("*", "h%00", "-")),
]


@pytest.mark.parametrize(("url", "said"), UNUSABLE)
def test_an_unusable_url_is_refused_at_once_and_said_why(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as error:
        Client(url, "token")
    assert str(error.value) == f"server {url!r}: {said}"
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(UserError) as error:
        proxy_for(httpx.URL("http://example.org"))
    assert f": {said}; NO_PROXY=example.org would go past it" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://h", "http://h:1", "https://a_b.example.:65535/x", "http://127.0.0.1:80"),
        *("http://[::1]:8267", "http://[fe80::1%25eth0]/", "http://b\u00fccher.example/"),
    ],
)
def test_other_urls_are_not(url: str) -> None:
    assert why_unusable(httpx.URL(url)) is None


def test_a_password_is_not_shown_with_another_error() -> None:
    with pytest.raises(UserError) as error:
        Client("http://me:secret@h:0", "token")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("end", ["/#t=SECRET", "#t=SECRET", "?token=SECRET", "/#", "?"])
def test_the_address_of_a_page_is_refused_and_its_token_not_shown(end: str) -> None:
    with pytest.raises(
        UserError, match="the URL ends before '\\?' or '#'; set STN_CLUSTER_TOKEN"
    ) as told:
        Client(f"http://127.0.0.1:8267{end}")
    assert "SECRET" not in str(told.value)
