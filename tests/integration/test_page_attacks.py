"""Attacks on the page in a real browser: other pages, and addresses that nobody meant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from support.browsers import NEEDS_CHROMIUM, opened_page, viewed
from support.reported_stores import fill

from stn_cluster.store import Store

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = NEEDS_CHROMIUM

ATTACK = """async ([server, key]) => {
  const said = {};
  const json = { 'Content-Type': 'application/json' }, plain = { 'Content-Type': 'text/plain' };
  const tries = {
    read: ['/v1/matrix', {}],
    json: ['/v1/session', { method: 'POST', headers: json, body: '{"token": "x"}' }],
    plain: ['/v1/session', { method: 'POST', mode: 'no-cors', headers: plain, body: '{}' }],
    remove: ['/v1/session', { method: 'DELETE' }],
  };
  for (const [name, [path, options]] of Object.entries(tries)) {
    try {
      said[name] = (await fetch(server + path, { credentials: 'include', ...options })).type;
    } catch (error) {
      said[name] = 'refused';
    }
  }
  const loaded = (tag, path) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done('loaded');
    element.onerror = () => done('refused');
    element.src = server + path;
    document.body.append(element);
  });
  said.image = await loaded('img', '/page/icon.svg');
  said.script = await loaded('script', '/page/main.js');
  const opened = window.open(server + '/');
  await new Promise((done) => setTimeout(done, 1000));
  said.window = opened === null || opened.closed ? 'refused' : 'reached';
  return said;
}"""


class _Page(BaseHTTPRequestHandler):
    cookies: ClassVar[list[str]] = []  # that it was sent

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another</title><body></body>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def another() -> Iterator[int]:
    """Port of a server of somebody else's on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked") / "store"
    fill(Store.open(folder, create=True))
    return folder


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_server_gets_nothing_and_changes_nothing(
    browser: Any, store: Path, another: int, host: str
) -> None:
    with viewed(store) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()  # the browser has the cookie now
        attacker = found.page.context.new_page()
        attacker.goto(f"http://{host}:{another}/")
        said = attacker.evaluate(ATTACK, [address.partition("/#")[0], ""])
        assert said == dict.fromkeys(said, "refused")
        found.page.reload()
        found.page.locator("table.matrix").first.wait_for()  # and still has it


def test_what_a_server_at_another_port_is_sent_opens_nothing(
    browser: Any, store: Path, another: int
) -> None:
    _Page.cookies.clear()
    with viewed(store) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        found.page.context.new_page().goto(f"http://127.0.0.1:{another}/")
        cookie = next(one for one in _Page.cookies if "stn_cluster_" in one)
        server = address.partition("/#")[0]
        for path in ("/v1/page", "/v1/matrix", "/v1/results"):
            assert httpx.get(server + path, headers={"Cookie": cookie}).status_code == 401
        keys = found.page.context.pages[1].evaluate("JSON.stringify(window.localStorage)")
        assert keys == "{}"  # the page's own are of its port


def test_rows_and_logs_are_saved_as_files(browser: Any, store: Path) -> None:
    key = Store.open(store).results()["key"].iloc[0]
    with viewed(store) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        found.page.evaluate("(key) => { location.hash = `#/cells/${key}`; }", key)
        for kind in ("CSV", "Parquet", "JSON"):
            with found.page.expect_download() as saved:
                found.page.get_by_role("button", name=kind, exact=True).click()
            assert saved.value.suggested_filename == f"{key}.{kind.lower()}"
            assert Path(saved.value.path()).stat().st_size > 100
        assert found.messages == []
        assert found.refused == []


def test_addresses_that_name_nothing_show_a_view(browser: Any, store: Path) -> None:
    with viewed(store) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        for view in (
            "nothing",
            "constructor",
            "__proto__",
            "toString",
            "%",
            "%ff",
            "/evil.example",
        ):
            found.page.evaluate("location.hash = '#/docs'")
            found.page.get_by_role("heading", level=1, name="Interface").wait_for()
            found.page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
            found.page.get_by_role("heading", level=1, name="Matrix").wait_for()
        assert found.messages == []


def test_a_job_that_is_not_there_is_not_waited_for(browser: Any, store: Path) -> None:
    with viewed(store) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        found.page.evaluate("location.hash = '#/matrix?job=nope'")
        found.page.get_by_text("unknown job").wait_for()
        assert found.page.get_by_text("Waiting for the job").count() == 0


def test_a_store_that_is_gone_is_said(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    fill(Store.open(folder, create=True))
    with viewed(folder) as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        folder.rename(tmp_path / "elsewhere")
        found.page.get_by_text("folder is not there").first.wait_for(timeout=60_000)
        (tmp_path / "elsewhere").rename(folder)
        found.page.get_by_text("folder is not there").first.wait_for(
            state="detached", timeout=60_000
        )
        assert found.page.locator("table.matrix").count() > 0
