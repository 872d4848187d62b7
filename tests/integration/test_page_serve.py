"""The page of a service in a real browser: a grid submitted there fills, with its server killed in
between; what is wrong with a config is said by field; a cell is trained again by a click."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from support.browsers import NEEDS_CHROMIUM, Opened, chromium, opened_page
from support.ray_head import free_ports, ray_head
from support.servers import TOKEN, Server

from stn_cluster.store import Store

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = NEEDS_CHROMIUM

CONFIG = """recipe:
  name: smoke
  iterations: 150
models: [FCN, CNN]
distortions: [R, E]
"""
PATIENCE = 120_000  # ms


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ray_head() as head:
        server = Server(head, tmp_path_factory.mktemp("page"), *free_ports(1))
        server.start()
        yield server
        server.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def opened(server: Server) -> Iterator[Opened]:
    with chromium() as browser, opened_page(browser) as found:
        found.page.goto(f"{server.url}/#t={TOKEN}")
        yield found


def test_a_grid_is_submitted_and_watched_to_its_end_over_a_killed_server(
    opened: Opened, server: Server
) -> None:
    page = opened.page
    page.get_by_role("heading", name="Jobs", level=1).wait_for()
    config = page.get_by_label("Config (YAML)")
    config.fill(CONFIG.replace("150", "-1"))
    page.get_by_role("button", name="Plan it").click()
    page.locator(".submit .problem").wait_for(timeout=PATIENCE)
    assert "iterations" in page.locator(".submit .problem").inner_text()
    assert page.evaluate("getSelection().toString()") == "  iterations: -1"
    config.fill(CONFIG)
    page.get_by_role("button", name="Plan it").click()
    page.locator(".plan", has_text="4 cells, 4 to train").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="Job ").wait_for(timeout=PATIENCE)
    page.locator(".entry-open").first.wait_for(timeout=PATIENCE)
    assert page.locator(".entry-open").count() == 4
    page.locator(".word.is-running, .word.is-queued").first.wait_for(timeout=PATIENCE)
    server.end(signal.SIGKILL)
    page.locator(".bar.lost").wait_for(timeout=PATIENCE)
    server.start()
    page.locator(".bar.lost").wait_for(state="detached", timeout=PATIENCE)
    page.locator(".state-words", has_text="4 succeeded").wait_for(timeout=PATIENCE)
    page.locator(".entry .value", has_text=re.compile(r"^\d")).nth(3).wait_for(timeout=PATIENCE)
    rows = Store.open(server.store).results()
    wanted = {f"{error:.2f}" for error in rows["test_error"]}
    shown = page.locator(".entry .value").all_inner_texts()
    assert {text.rstrip("°") for text in shown} == wanted
    page.locator(".badge", has_text="succeeded").first.wait_for()


def test_a_cell_is_trained_again_by_a_click_in_its_place(opened: Opened, server: Server) -> None:
    page = opened.page
    page.get_by_role("link", name="Matrix").first.click()
    entry = page.get_by_role("button", name=re.compile("^FCN on R,"))
    entry.focus()
    page.keyboard.press("r")
    page.get_by_role("button", name="Train 1 cell").click()
    page.get_by_text("Trained again by job").wait_for(timeout=PATIENCE)
    page.locator(".overview", has_text=": succeeded").wait_for(timeout=PATIENCE)
    rows = Store.open(server.store).results(latest=False)
    again = rows[(rows["model"] == "FCN") & (rows["distortion"] == "R")]
    assert len(again) == 2
    entry.click()
    page.locator(".attempts tbody tr").nth(1).wait_for(timeout=PATIENCE)
    page.get_by_role("link", name="Jobs").click()
    page.locator(".job", has_text="rerun-").wait_for(timeout=PATIENCE)


def test_all_cells_of_a_job_are_listed(opened: Opened) -> None:
    page = opened.page
    page.get_by_role("link", name="Jobs").click()
    page.locator(".job-name").last.click()
    page.get_by_role("link", name="Cells").click()
    page.locator(".cell-row").nth(3).wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="succeeded (4)").click()
    assert "state=succeeded" in page.url
    assert page.locator(".cell-row").count() == 4


def test_nothing_was_refused_or_asked_elsewhere(opened: Opened, server: Server) -> None:
    assert opened.refused == []
    assert opened.hosts == {server.url.removeprefix("http://")}
    said = [
        one for one in opened.messages if "Failed to load" not in one and "ERR_" not in one
    ]  # Chromium itself reports the killed server
    assert said == []
