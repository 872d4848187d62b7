"""The page of a store in a real browser: every view, narrow and wide, light and dark, by keyboard,
with hostile texts, and with its server gone for a while."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.browsers import NEEDS_CHROMIUM, SERIOUS, Opened, opened_page, viewed
from support.graded_stores import commit, drawn
from support.ray_head import free_ports
from support.records import make_cell, make_record
from support.reported_stores import FAILURE, fill

from stn_cluster.store import Store

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytestmark = NEEDS_CHROMIUM

WIDTHS, SCHEMES = (390, 1440), ("light", "dark")
HOSTILE = "<img src=x onerror=window.hit=1>"
RIGHT_TO_LEFT, ANSI = "\u202edetrever\u2066", "\x1b[31mred\x1b[0m"
LONG = "long " + "x" * 1_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "store"
    opened = Store.open(folder, create=True)
    fill(opened)
    hostile = make_record(make_cell("CNN", distortion="E", recipe=HOSTILE, dataset="letters"), None)
    text = f"Traceback (most recent call last):\n{HOSTILE}\nRuntimeError: {HOSTILE} {RIGHT_TO_LEFT}"
    opened.commit([replace(hostile, row={**hostile.row, "error": text})])
    lines = [*(f"line {number}" for number in range(5000)), f"{HOSTILE} {ANSI} {RIGHT_TO_LEFT}"]
    for row in (hostile.row,):
        opened.logs.append(row["key"], row["attempt"], "\n".join([*lines, LONG]) + "\n")
    return folder


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opened]:
    with opened_page(browser) as found:
        found.page.goto(address)
        found.page.locator("table.matrix").first.wait_for()
        yield found


def failed_key(store: Path, recipe: str = HOSTILE) -> str:
    rows = Store.open(store).results()
    key: str = rows[(rows["recipe"] == recipe) & (rows["status"] == "failed")]["key"].iloc[0]
    return key


def keys(store: Path) -> list[str]:
    rows = Store.open(store).results()
    chosen = (rows["dataset"] == "letters") & (rows["distortion"] == "R")
    return list(rows[chosen & (rows["status"] == "succeeded")]["key"])


def entry(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=re.compile(f"^{re.escape(name)},")).first


# --- what holds for every view ---


@pytest.mark.parametrize(("width", "scheme"), itertools.product(WIDTHS, SCHEMES))
def test_every_view_is_accessible_self_contained_and_as_wide_as_the_screen(
    browser: Any, address: str, store: Path, width: int, scheme: str
) -> None:
    a, b = keys(store)[:2]
    views = {
        "matrix": "table.matrix button",
        "matrix?show=paper": "table.matrix button",
        f"cells/{a}": "section",
        f"cells/{failed_key(store)}": ".log .virtual-row",
        f"compare?a={a}&b={b}": ".interval",
        "failures": ".failure",
        "robustness": "main h1",
        "draw": "main h1",
        "docs": ".route",
        "cells/0000000000000000": ".problem",
    }
    with opened_page(browser, width, scheme) as found:
        found.page.goto(address)
        for view, shown in views.items():
            found.page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
            found.page.locator(shown).first.wait_for()
            found.page.wait_for_load_state("networkidle" if "docs" in view else "load")
            fits = "document.documentElement.scrollWidth <= innerWidth"
            assert found.page.evaluate(fits), view
            options = {"resultTypes": ["violations"]}
            problems = axe.Axe().run(found.page, options=options).response["violations"]
            serious = [one for one in problems if one["impact"] in SERIOUS]
            assert [(view, one["id"], one["nodes"][0]["html"]) for one in serious] == []
        assert found.refused == []
        assert found.hosts == {urlsplit(address).netloc}
        # Chromium itself reports answers of 4xx and 5xx: there is no such cell, no images.
        said = [one for one in found.messages if "Failed to load resource" not in one]
        assert said == []


def test_its_colours_follow_the_scheme(browser: Any, address: str) -> None:
    shown = []
    for scheme in SCHEMES:
        with opened_page(browser, scheme=scheme) as found:
            found.page.goto(address)
            background = "getComputedStyle(document.body).backgroundColor"
            shown.append(found.page.evaluate(background))
    assert shown == ["rgb(255, 255, 255)", "rgb(22, 24, 29)"]


# --- the session ---


def test_the_token_leaves_the_address_and_is_never_sent_in_one(opened: Opened) -> None:
    opened.page.get_by_role("button", name="Time").click()
    assert urlsplit(opened.page.url).fragment == "/?show=time"
    opened.page.get_by_role("link", name="Compare").click()
    assert urlsplit(opened.page.url).fragment == "/compare"
    assert opened.page.evaluate("document.cookie") == ""  # pages cannot read it
    assert not any("t=" in urlsplit(url).query for url in opened.requests)


def test_without_a_session_a_token_can_be_pasted(browser: Any, address: str) -> None:
    url, token = address.split("/#t=")
    with opened_page(browser) as found:
        found.page.goto(url)
        found.page.get_by_role("heading", name="A token is needed").wait_for()
        field = found.page.get_by_label("Token")
        field.fill("wrong")
        field.press("Enter")
        assert "not the server's token" in found.page.locator("form .problem").inner_text()
        field.fill(token)
        field.press("Enter")
        found.page.locator("table.matrix").first.wait_for()


def test_the_printed_address_signs_in_where_the_page_is_already(browser: Any, address: str) -> None:
    with opened_page(browser) as found:
        found.page.goto(address.partition("#")[0])
        found.page.get_by_label("Token").wait_for()
        found.page.goto(address)  # only the fragment changes, so nothing is loaded anew
        found.page.locator("table.matrix").first.wait_for()
        assert "t=" not in found.page.url


def test_an_expired_session_asks_for_the_token(opened: Opened) -> None:
    opened.page.context.clear_cookies()
    opened.page.get_by_role("link", name="Failures").click()
    opened.page.get_by_role("heading", name="A token is needed").wait_for()


# --- the matrix ---


def test_the_matrix_is_a_table_with_the_stores_numbers(page: Any, store: Path) -> None:
    rows = Store.open(store).results()
    wanted = rows[(rows["label"] == "ST-CNN/tps/R/seed0") & (rows["dataset"] == "letters")]
    text = entry(page, "ST-CNN tps on R").inner_text()
    assert text.startswith(f"{wanted['test_error'].iloc[0]:.2f}")
    page.get_by_role("button", name=re.compile(r"^FCN on R,.*1 failed")).wait_for()
    headers = page.locator("table.matrix thead th").all_inner_texts()
    assert {"R", "E", "clean"} <= set(headers)


def test_switches_and_filters_are_in_the_address(page: Any) -> None:
    page.get_by_role("button", name="Less a baseline", exact=True).click()
    entry(page, "CNN on R").click()
    assert "base=CNN" in page.url
    assert entry(page, "CNN on R").inner_text().startswith("0.00")
    page.locator("summary", has_text="distortion").click()
    page.get_by_role("checkbox", name="E", exact=True).check()
    page.locator("table.matrix thead th", has_text="R").wait_for(state="detached")
    url = page.url
    assert "distortion=E" in url
    page.reload()
    page.locator("table.matrix").first.wait_for()
    assert page.url == url
    button = page.get_by_role("button", name="Less a baseline", exact=True)
    assert button.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Show all").click()
    page.locator("table.matrix thead th", has_text="R").first.wait_for()


def test_a_click_opens_a_cell_and_two_with_shift_are_compared(page: Any) -> None:
    entry(page, "ST-CNN affine on R").click()
    page.get_by_role("heading", name="ST-CNN affine on R, seed 0").wait_for()
    page.go_back()
    entry(page, "CNN on R").click(modifiers=["Shift"])
    assert entry(page, "CNN on R").locator("..").get_attribute("data-chosen") == "A"
    entry(page, "ST-CNN affine on R").click(modifiers=["Shift"])
    page.get_by_text("points, B − A").wait_for()
    assert page.get_by_text("fewer errors than A").count() == 1


def test_two_are_chosen_without_a_keyboard(page: Any) -> None:
    page.get_by_role("button", name="Choose two to compare").click()
    entry(page, "CNN on R").click()
    page.get_by_text("A: CNN on R; choose another one.").wait_for()
    entry(page, "ST-CNN tps on R").click()
    page.get_by_text("points, B − A").wait_for()


def test_seeds_of_an_entry_are_linked(browser: Any, tmp_path: Path) -> None:
    opened = Store.open(tmp_path / "store", create=True)
    commit(opened, drawn({("CNN", "none"): 0.05}, distortions=("R",), seeds=3, images=1000))
    with viewed(tmp_path / "store") as address, opened_page(browser) as found:
        found.page.goto(address)
        entry(found.page, "CNN on R").click()
        found.page.get_by_role("group", name="Seeds").get_by_role("link", name="2").click()
        found.page.get_by_role("heading", name="CNN on R, seed 2").wait_for()


def test_a_store_that_grows_is_followed(browser: Any, tmp_path: Path) -> None:
    opened = Store.open(tmp_path / "store", create=True)
    errors = {("CNN", "none"): 0.05}
    commit(opened, drawn(errors, distortions=("R",), images=1000))
    with viewed(tmp_path / "store") as address, opened_page(browser) as found:
        found.page.goto(address)
        entry(found.page, "CNN on R").wait_for()
        commit(opened, drawn({("FCN", "none"): 0.1}, distortions=("R",), images=1000))
        entry(found.page, "FCN on R").wait_for(timeout=15_000)


def test_an_empty_store_says_so(browser: Any, tmp_path: Path) -> None:
    Store.open(tmp_path / "store", create=True)
    with viewed(tmp_path / "store") as address, opened_page(browser) as found:
        found.page.goto(address)
        found.page.get_by_text("There are no cells here yet.").wait_for()


# --- cells, failures, logs ---


def test_a_failed_cells_traceback_is_read(page: Any) -> None:
    page.get_by_role("link", name="Failures").click()
    group = page.locator(".failure", has_text=FAILURE)
    group.locator("summary").click()
    assert FAILURE in group.locator("pre").inner_text()
    group.get_by_role("link", name="FCN/none/R/seed0").click()
    assert FAILURE in page.locator("pre").first.inner_text()


def test_hostile_texts_are_text(page: Any, store: Path) -> None:
    page.evaluate("(key) => { location.hash = `#/cells/${key}`; }", failed_key(store))
    page.get_by_role("heading", name="CNN on E").wait_for()
    assert HOSTILE in page.locator(".facts").first.inner_text()  # the recipe's name
    assert HOSTILE in page.locator("pre").first.inner_text()
    page.get_by_label("Search").fill("onerror")
    page.get_by_text("1 of 1 lines").wait_for()
    line = page.locator(".log .hit").inner_text()
    assert HOSTILE in line
    assert "\x1b" not in line
    for view in ("matrix", "failures", "compare"):
        page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        page.get_by_text("onerror").or_(page.locator("option, input")).first.wait_for(
            state="attached"
        )
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x]").count() == 0


def test_a_log_with_a_long_line_shows_its_beginning_and_the_rest_on_demand(
    page: Any, store: Path
) -> None:
    page.evaluate("(key) => { location.hash = `#/cells/${key}`; }", failed_key(store))
    page.get_by_label("Search").fill("long xxx")
    rest = page.locator(".log button", has_text="more characters")
    rest.wait_for()
    assert page.locator(".log .virtual-row").count() < 100  # of 5,002 lines
    rest.click()
    assert page.locator("h3", has_text="Line 5,002").count() == 1
    assert "x" * 900_000 in page.locator("h3 + pre").text_content()


def test_a_page_in_the_interface_lists_every_route(page: Any) -> None:
    page.get_by_role("link", name="Interface").click()
    page.locator(".route").first.wait_for()
    routes = page.locator(".route code").all_inner_texts()
    assert {"/v1/matrix", "/v1/cells/{key}", "/v1/session"} <= set(routes)


# --- by keyboard alone ---


def test_keys_alone_reach_a_cell_and_a_comparison(page: Any) -> None:
    keyboard = page.keyboard
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(40):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.at") == "0 0":
            break
    here = "document.activeElement.dataset.at"
    assert page.evaluate(here) == "0 0"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keyboard.press("ArrowDown")
    assert page.evaluate(here) == "1 0"
    keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=re.compile("seed 0")).wait_for()
    page.go_back()
    entry(page, "CNN on R").focus()
    keyboard.press("c")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowLeft")
    entry(page, "ST-CNN tps on R").focus()
    keyboard.press("c")
    page.get_by_text("points, B − A").wait_for()


# --- a server that is gone for a while ---


def test_a_lost_server_is_said_and_found_again(browser: Any, store: Path) -> None:
    (port,) = free_ports(1)
    command = [str(Path(sys.executable).parent / "stn-cluster"), "view", str(store)]
    environment = os.environ | {"STN_CLUSTER_TOKEN": f"a-token-{uuid.uuid4()}"}

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, f"--port={port}"], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        process.address = process.stdout.readline().strip()  # type: ignore[attr-defined]
        return process

    process = start()
    try:
        with opened_page(browser) as found:
            found.page.goto(process.address)  # type: ignore[attr-defined]
            entry(found.page, "CNN on R").wait_for()
            process.send_signal(signal.SIGKILL)
            process.wait()
            bar = found.page.locator(".bar.lost")
            bar.wait_for(timeout=15_000)
            assert entry(found.page, "CNN on R").count() == 1  # what was there stays
            process = start()
            bar.wait_for(state="detached", timeout=30_000)  # the session holds, too
            found.page.get_by_role("link", name="Failures").click()
            found.page.locator(".failure").first.wait_for()
    finally:
        process.kill()
        process.wait()
