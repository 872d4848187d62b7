"""Who may look and who may write: tokens, cookies, origins, hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import given
from hypothesis import strategies as st
from support.pages import ADDRESS, page_of

from stn_cluster.server.session import (
    KEY_HEADER,
    LASTS,
    Session,
    cookie_of,
    is_valid,
    new_session,
)
from stn_cluster.store import Store

TOKEN = "a-token-of-some-length"


@pytest.fixture
def page(store: Store) -> TestClient:
    return page_of(store, token=TOKEN)


def test_a_session_is_valid_until_it_expires_and_for_its_token_alone() -> None:
    session = new_session(TOKEN, now=1000)
    assert is_valid(TOKEN, session, now=1000 + LASTS - 1)
    assert not is_valid(TOKEN, session, now=1000 + LASTS)
    assert not is_valid("another-token-of-some-length", session, now=1000)
    name, _, signature = session.cookie.partition(".")
    expires, _, number = name.partition("-")
    longer = f"{int(expires) + 1}-{number}.{signature}"
    assert not is_valid(TOKEN, replace(session, cookie=longer), now=1000)


def test_a_cookie_and_a_key_of_two_sessions_are_none() -> None:
    one, other = new_session(TOKEN), new_session(TOKEN)
    assert is_valid(TOKEN, one)
    for key in (other.key, "", one.cookie, one.cookie.partition(".")[2], TOKEN):
        assert not is_valid(TOKEN, replace(one, key=key))
    assert not is_valid(TOKEN, replace(one, cookie=one.key))


@given(st.text(max_size=100))
def test_what_is_no_cookie_is_not_valid(text: str) -> None:
    assert not is_valid(TOKEN, Session(text, text))
    assert not is_valid(TOKEN, replace(new_session(TOKEN), key=text))
    assert cookie_of(text, "stn_cluster_1") is None


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("stn_cluster_1=a.b", "a.b"),
        ("other=x; stn_cluster_1=a.b; more=y", "a.b"),
        ("stn_cluster_12=x;stn_cluster_1=a=b", "a=b"),
        ("xstn_cluster_1=a", None),
        ("stn_cluster_1", ""),
        ("", None),
    ],
)
def test_a_cookie_is_found_among_others(header: str, found: str | None) -> None:
    assert cookie_of(header, "stn_cluster_1") == found


def test_the_page_needs_no_token_and_what_it_shows_does(page: TestClient) -> None:
    assert page.get("/").status_code == 200
    assert page.get("/page/index.html").status_code == 200
    assert page.get("/v1/health").status_code == 200
    for path in ("/v1/page", "/v1/matrix", "/v1/results", "/v1/openapi.json", "/v1/draw"):
        assert page.get(path).status_code == 401


def signed_in(page: TestClient) -> dict[str, str]:
    """Headers of a page that has signed in, beside the cookie that the client keeps."""
    traded = page.post("/v1/session", json={"token": TOKEN})
    assert traded.status_code == 200
    return {KEY_HEADER: traded.json()["key"]}


def test_a_token_is_traded_for_a_cookie_that_scripts_cannot_read(page: TestClient) -> None:
    assert page.post("/v1/session", json={"token": "wrong"}).status_code == 401
    traded = page.post("/v1/session", json={"token": TOKEN})
    said = traded.headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert "Secure" not in said  # not encrypted
    assert traded.headers["cache-control"] == "no-store"
    key = {KEY_HEADER: traded.json()["key"]}
    assert page.get("/v1/page", headers=key).status_code == 200
    assert page.request("DELETE", "/v1/session", json={}).status_code == 204
    assert page.get("/v1/page", headers=key).status_code == 401


def test_the_cookie_alone_opens_nothing_as_servers_at_other_ports_get_it(page: TestClient) -> None:
    key = signed_in(page)
    for path in ("/v1/page", "/v1/matrix", "/v1/results", "/v1/openapi.json"):
        assert page.get(path).status_code == 401
        assert page.get(path, headers={KEY_HEADER: key[KEY_HEADER][:-1] + "x"}).status_code == 401
        assert page.get(path, headers=key).status_code == 200
    assert page_of_nobody(page, key).status_code == 401


def page_of_nobody(page: TestClient, key: dict[str, str]) -> Response:
    page.cookies.clear()
    return page.get("/v1/page", headers=key)


def test_a_server_without_a_token_gives_no_key(store: Store) -> None:
    assert page_of(store).post("/v1/session", json={"token": "x"}).json() == {"key": None}


def test_behind_tls_the_cookie_is_sent_over_tls_alone(store: Store) -> None:
    page = page_of(store, token=TOKEN)
    page.base_url = ADDRESS.replace("http:", "https:")
    assert "Secure" in page.post("/v1/session", json={"token": TOKEN}).headers["set-cookie"]


def test_an_expired_session_is_refused(page: TestClient) -> None:
    for made, status in ((1.0, 401), (None, 200)):
        session = new_session(TOKEN, now=made)
        page.cookies.set("stn_cluster_8268", session.cookie)
        assert page.get("/v1/page", headers={KEY_HEADER: session.key}).status_code == status


def test_a_wrong_token_is_not_helped_by_a_session(page: TestClient) -> None:
    wrong = {"Authorization": "Bearer wrong", **signed_in(page)}
    assert page.get("/v1/page", headers=wrong).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_no_page_of_another_origin_may_write(
    store: Store, headers: dict[str, str], token: str | None
) -> None:
    page = page_of(store, token=token)
    page.post("/v1/session", json={"token": TOKEN})
    refused = page.post("/v1/session", json={"token": TOKEN}, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith("Origin:")


def test_the_servers_own_page_may(page: TestClient) -> None:
    own = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}
    assert page.post("/v1/session", json={"token": TOKEN}, headers=own).status_code == 200


def test_a_form_may_not_write_and_another_host_may_not_ask(page: TestClient) -> None:
    form = page.post("/v1/session", data={"token": TOKEN})
    assert form.status_code == 415
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/v1/health", "/v1/page", "/page/none.js", "/nothing"])
def test_every_answer_says_what_a_page_may_do(page: TestClient, path: str) -> None:
    headers = page.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "name",
    ["../server/app.py", "%2e%2e/server/app.py", "/etc/passwd", "a" * 500, "vendor", "x\u202ejs"],
)
def test_only_files_of_the_page_are_served(page: TestClient, name: str) -> None:
    found = page.get(f"/page/{name}")
    assert found.status_code in (401, 404)  # a client resolves some of them itself
    assert "import" not in found.text


def test_files_that_have_not_changed_are_not_sent_again(page: TestClient) -> None:
    first = page.get("/")
    again = page.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


WRITES = [
    ("PUT", "/v1/jobs/j"),
    ("POST", "/v1/jobs/j/cancel"),
    ("POST", "/v1/jobs/j/retry"),
    ("PUT", "/v1/reruns/j"),
    ("POST", "/v1/plan"),
    ("DELETE", "/v1/cells/0123456789abcdef"),
    ("POST", "/v1/results"),
    ("PATCH", "/v1/page"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_store_alone_is_read_only_whatever_comes(
    page: TestClient, method: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert page.request(method, path, json={}, headers=headers).status_code in (404, 405)
