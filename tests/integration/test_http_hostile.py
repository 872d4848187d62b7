"""Hostile requests that the HTTP interface must refuse, and the protection by a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from support.http_service import QUICK, browser, http_service

from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.security import MAX_BODY, OPEN
from stn_cluster.server.service_routes import SERVICE

TOKEN = "correct-horse-battery-staple"
JSON = {"Content-Type": "application/json"}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with http_service(tmp_path_factory.mktemp("hostile")) as service:
        yield service


@pytest.fixture(scope="module")
def http(service: Backend) -> Iterator[TestClient]:
    """On loopback, without a token."""
    with browser(service) as client:
        yield client
        assert client.get("/v1/jobs").json() == []  # nothing of all this was accepted


@pytest.fixture(scope="module")
def guarded(service: Backend) -> Iterator[TestClient]:
    """Listening to the world, with a token."""
    with browser(service, token=TOKEN, loopback=False) as client:
        yield client


def refused(response: httpx.Response, *statuses: int) -> str:
    """Error message of a refused request."""
    assert response.status_code in statuses, (response.status_code, response.text)
    error = response.json()["error"]
    assert set(error) == {"code", "message", "field"}
    return str(error["message"])


# --- the token ---


def every_route(service: Backend) -> list[tuple[str, str]]:
    paths = create_app(service, routers=SERVICE).openapi()["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [*routes, ("GET", "/v1/openapi.json"), ("GET", "/x")]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \u00e9",
    ],
)
def test_without_the_token_nothing_but_the_probes_is_answered(
    guarded: TestClient, service: Backend, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    asked = every_route(service)
    assert len(asked) > 35
    for method, path in asked:
        response = guarded.request(method, path, headers={**JSON, **headers})  # type: ignore[dict-item]
        if path in OPEN:
            # The session's route takes no token but the one in its body.
            assert response.status_code == {"POST": 422, "DELETE": 204}.get(method, 200)
        else:
            assert "token" in refused(response, 401), (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


def test_with_the_token_it_answers_under_whatever_name_it_is_reached(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "head.example:8267"}
    assert guarded.get("/v1/jobs", headers=headers).status_code == 200


# --- other people's web pages ---


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8267", ""]
)
def test_on_loopback_it_answers_to_its_own_names_only(http: TestClient, host: str) -> None:
    for path in ("/v1/jobs", "/v1/health"):
        assert "Host" in refused(http.get(path, headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8267", "[::1]:8267", "LOCALHOST"])
def test_its_own_names_are_these(http: TestClient, host: str) -> None:
    assert http.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/plain; application/json",
        "application/x-yaml",
        None,
    ],
)
def test_a_form_of_another_page_is_refused(http: TestClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    body = json.dumps({"config": QUICK})
    for method, path in (("PUT", "/v1/jobs/form"), ("POST", "/v1/jobs/form/cancel")):
        response = http.request(method, path, content=body, headers=headers)
        assert "application/json" in refused(response, 415)


# --- bodies ---


def test_a_body_of_100_mb_is_refused_before_it_is_read(http: TestClient) -> None:
    headers = {**JSON, "Content-Length": str(100 * 2**20)}
    response = http.put("/v1/jobs/large", content=b"{}", headers=headers)
    assert "at most" in refused(response, 413)


def test_a_body_that_does_not_say_how_large_it_is_is_refused_when_it_is_too_large(
    http: TestClient,
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 2):
            yield b" " * 2**20

    response = http.put("/v1/jobs/large", content=pieces(), headers=JSON)
    assert "at most" in refused(response, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        BOMB.encode(),
        b"[" * 100_000,
        b'{"config":' * 50_000,
        b'{"config": {"seeds": [' + b"9" * 5_000 + b"]}}",
        b'{"config": {"seeds": [NaN]}}',
        b'{"config": {"seeds": [1e400]}}',
        b'{"config": {"name": "\\ud800"}}',
        b'{"config": {"name": "a\\u0000b"}}',
        b'{"config": {"recipe": {"name": "fast", "iterations": 1e308}}}',
        b'{"config": {"recipe": {"name": "fast", "by_model": {"FCN": []}}}}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_what_is_not_a_job_is_refused(http: TestClient, body: bytes) -> None:
    assert refused(http.put("/v1/jobs/odd", content=body, headers=JSON), 400, 422)


def test_a_grid_that_would_fill_the_memory_is_refused_at_once(http: TestClient) -> None:
    config = {"distortions": [f"R:{n}" for n in range(28, 200)], "seeds": list(range(100_000))}
    response = http.put("/v1/jobs/grid", json={"config": {**config, "recipe": "smoke"}})
    assert "at most 200,000 in a job" in refused(response, 422)


# --- code and places ---


@pytest.mark.parametrize(
    "config",
    [
        {"plugins": ["os"]},
        {"plugins": ["../../etc/passwd"]},
        {"store": "/etc"},
        {"data_root": "/etc"},
        {"state": "/tmp"},
        {"name": "../../etc/passwd"},
        {"name": "/etc/passwd"},
        {"dataset": "../../etc/passwd"},
        {"models": ["os:system"]},
        {"models": ["../evil"]},
        {"recipe": "../../etc/passwd"},
        {"recipe": {"name": "fast", "weights": "/etc/passwd"}},
        {"distortions": ["R:../../x"]},
        {"needs": {"resources": {"../x": 1}}},
        {"needs": {"runtime_env": {"pip": ["evil"]}}},
    ],
    ids=str,
)
def test_a_config_names_no_code_and_no_places(http: TestClient, config: dict[str, Any]) -> None:
    response = http.put("/v1/jobs/places", json={"config": {**QUICK, **config}})
    assert refused(response, 422)
    assert (response.json()["error"]["field"] or "").startswith("config")


@pytest.mark.parametrize(
    "job_id",
    [
        "-rf",
        "_a",
        ".a",
        "%2e%2e%2fescape",
        "..%2F..%2Fetc",
        "a%00b",
        "a%0Ab",
        "x" * 65,
        "caf%C3%A9",
        "a b",
        "%",
        ";",
    ],
)
def test_a_job_id_is_a_plain_word(http: TestClient, service: Backend, job_id: str) -> None:
    response = http.put(f"/v1/jobs/{job_id}", json={"config": QUICK})
    assert refused(response, 404, 422)
    assert http.get(f"/v1/jobs/{job_id}").status_code in (404, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/logs/..%2F..%2Fjobs/x",
        "/v1/logs/0000000000000000/..%2F..%2F..%2Fcells",
        "/v1/logs/%2Fetc/passwd",
        "/v1/logs/0000000000000000/%2Fetc%2Fpasswd",
    ],
)
def test_a_log_is_no_way_into_the_disk(http: TestClient, path: str) -> None:
    assert refused(http.get(path), 404, 422)


@pytest.mark.parametrize("name", ["' OR 1=1 --", "%", '"; DROP TABLE cells; --', "\u0000"])
def test_a_name_is_not_read_as_sql(http: TestClient, name: str) -> None:
    assert refused(http.get("/v1/attempts", params={"cell": name}), 404, 422)
    assert http.get("/v1/results", params={"model": name}).json() == []
