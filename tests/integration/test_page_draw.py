"""Drawing on the page in a real browser: digits that networks know, handles, layers, keys."""

from __future__ import annotations

import base64
import itertools
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from support.browsers import NEEDS_CHROMIUM, SERIOUS, Opened, opened_page
from support.packs import make_cells
from support.stored import train_into

from stn_cluster.store import Store

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytestmark = NEEDS_CHROMIUM

WIDTHS, SCHEMES = (390, 1440), ("light", "dark")
SECONDS = 30_000  # ms: a machine may have much else to do
ST_CNN = ("affine", "projective", "tps")
QUICKSTART = {"name": "fast", "iterations": 350, "batch_size": 64}  # fewer of its steps
ANGLES = np.linspace(0, 2 * np.pi, 25)
ZERO = [(140 + 62 * np.sin(angle), 140 - 95 * np.cos(angle)) for angle in ANGLES]
SEVEN = [(70.0, 45.0), (205.0, 45.0), (180.0, 100.0), (140.0, 240.0)]  # unlike itself upside down
ONE = [(140.0, 40.0), (139.0, 140.0), (138.0, 240.0)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawing") / "store"
    grid = {"distortions": ["R"], "recipe": QUICKSTART}
    cells = [
        *make_cells(models=["FCN"], transforms=["none"], **grid),
        *make_cells(models=["ST-CNN"], transforms=[*ST_CNN], **grid),
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has: with more, the networks are others
    train_into(Store.open(folder, create=True), cells)
    torch.set_num_threads(before)
    return folder


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opened]:
    with opened_page(browser) as found:
        open_pad(found.page, address)
        yield found


def open_pad(page: Any, address: str) -> None:
    page.goto(address)
    page.locator("table.matrix").first.wait_for(timeout=SECONDS)
    page.evaluate("location.hash = '#/draw'")
    page.locator(".pad canvas").wait_for(timeout=SECONDS)


def draw(page: Any, stroke: Sequence[tuple[float, float]]) -> None:
    page.locator(".pad canvas").scroll_into_view_if_needed()
    box = page.locator(".pad canvas").bounding_box()
    places = [
        (box["x"] + x * box["width"] / 280, box["y"] + y * box["width"] / 280) for x, y in stroke
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=2)
    page.mouse.up()


def row(page: Any, name: str) -> Any:
    return page.locator("li.answer").filter(has=page.get_by_role("link", name=name, exact=True))


def answered(page: Any) -> None:
    page.locator(".guess-first").first.wait_for(timeout=SECONDS)


@pytest.mark.parametrize(("digit", "stroke"), [("0", ZERO), ("1", ONE)])
def test_a_drawn_digit_is_known_to_the_networks_with_transformers(
    page: Any, digit: str, stroke: Sequence[tuple[float, float]]
) -> None:
    draw(page, stroke)
    for transform in ST_CNN:
        answer = row(page, f"ST-CNN {transform}")
        expect(answer.locator(".guess-first bdi")).to_have_text(digit, timeout=SECONDS)
        expect(answer.locator(".guess-second bdi")).not_to_have_text(digit)
        expect(answer.locator(".grid-lines polygon")).to_have_count(1)
        expect(answer.locator("canvas")).to_have_count(2)
    expect(row(page, "FCN").locator("canvas")).to_have_count(1)


def test_what_is_sent_last_is_the_whole_drawing_and_not_too_much_is_sent(opened: Opened) -> None:
    page = opened.page
    bodies: list[str] = []
    page.on(
        "request", lambda sent: bodies.append(sent.post_data) if "/v1/draw" in sent.url else None
    )
    with page.expect_response("**/v1/draw"):
        draw(page, ONE)
    for count in range(200):  # far faster than it may be sent
        page.get_by_label("Angle", exact=True).fill(str(count - 100))
    expect(page.get_by_label("Angle in degrees")).to_have_value("99")
    page.wait_for_timeout(300)
    page.wait_for_load_state("networkidle")
    assert json.loads(bodies[-1])["distort"]["angle"] == 99
    assert len(bodies) < 150
    assert opened.messages == []


def test_a_late_answer_to_what_is_cleared_is_dropped(page: Any) -> None:
    def late(route: Any) -> None:
        page.wait_for_timeout(400)
        route.continue_()

    draw(page, ONE)
    answered(page)
    page.route("**/v1/draw", late)
    page.get_by_label("Angle", exact=True).fill("45")
    page.get_by_role("button", name="Clear").click()
    page.wait_for_timeout(800)
    expect(page.locator(".guess-first")).to_have_count(0)
    expect(page.get_by_role("button", name="Turn it until it fails")).to_be_disabled()


def test_handles_distort_by_mouse_and_by_keys(page: Any) -> None:
    draw(page, ONE)
    answered(page)
    page.get_by_role("button", name="4 corners").click()
    corner = page.get_by_role("button", name="upper right corner")
    with page.expect_request(_distorted) as sent:
        corner.press("ArrowLeft")
    assert sent.value.post_data_json["distort"] == {
        "kind": "corners",
        "corners": [[-1, -1], [0.95, -1], [1, 1], [-1, 1]],
    }
    box = corner.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 40, middle[1] + 30, steps=4)
    page.mouse.up()
    x, y = (float(part) for part in _places(corner))
    assert 0.3 < x < 0.8
    assert -0.9 < y < -0.5
    page.get_by_role("button", name="4 × 4 points").click()
    expect(page.locator(".handle")).to_have_count(16)
    with page.expect_request(lambda one: _distorted(one, "points")) as sent:
        page.get_by_role("button", name="point in row 2, column 3").press("Shift+ArrowDown")
    points = sent.value.post_data_json["distort"]["points"]
    assert points[6] == pytest.approx([1 / 3, -1 / 3 + 0.2], abs=1e-3)
    page.get_by_role("button", name="Straighten").click()
    expect(page.get_by_role("button", name="Straighten")).to_be_disabled()


def _distorted(request: Any, kind: str = "corners") -> bool:
    """Whether it is a drawing that has been distorted: strokes before may be on their way."""
    told = request.post_data_json if request.url.endswith("/v1/draw") else None
    return bool(told and told["distort"] and told["distort"]["kind"] == kind)


def _turned_by(request: Any, angle: int) -> bool:
    return _distorted(request, "similarity") and request.post_data_json["distort"]["angle"] == angle


def _places(handle: Any) -> list[str]:
    words = handle.get_attribute("aria-label").partition(": ")[2].split()
    return [words[0], words[2]]


def test_it_is_turned_until_each_network_fails(page: Any) -> None:
    draw(page, SEVEN)
    answered(page)
    with page.expect_response(lambda answer: _turned_by(answer.request, 5)):
        page.get_by_label("Angle in degrees").fill("5")
        page.get_by_label("Angle in degrees").press("Enter")
    page.get_by_role("button", name="Turn it until it fails").click()
    page.locator(".fails").first.wait_for(timeout=SECONDS)
    expect(page.locator(".fails")).to_have_count(4)
    answers = page.locator("li.answer").all()  # which of them never fail depends on the processor
    answer = next(one for one in answers if one.locator(".fails button").count())
    guess = answer.locator(".guess-first bdi")
    before = guess.inner_text()  # a network of few steps may be wrong from the beginning
    angle = answer.locator(".fails button").first
    degrees, way = angle.inner_text().split("° ")
    angle.click()
    signed = -int(degrees) if way == "left" else int(degrees)
    expect(page.get_by_label("Angle in degrees")).to_have_value(str(5 + signed))
    expect(guess).not_to_have_text(before, timeout=SECONDS)


def test_layers_are_shown_and_hidden_and_tell_what_a_unit_sees(page: Any) -> None:
    draw(page, ONE)
    answered(page)
    page.get_by_role("button", name="Layers of ST-CNN tps").click()
    names = ["input layer", "convolution layer 1", "downsampling layer 1", "convolution layer 2"]
    for name in [*names, "downsampling layer 2", "grid", "output layer"]:
        shown = page.get_by_role("button", name=f"Hide {name}", exact=True)
        expect(shown).to_have_attribute("aria-expanded", "true", timeout=SECONDS)
    maps = page.get_by_role("application", name="convolution layer 1: arrow keys")
    maps.locator("[data-map='3']").hover()
    told = page.locator(".seen-by")
    expect(told).to_contain_text("map 4, row")
    expect(told).to_contain_text("sees 9 × 9 pixels of the transformer's output")
    page.get_by_role("button", name="Hide convolution layer 1", exact=True).press("Enter")
    expect(maps).to_have_count(0)
    page.get_by_role("button", name="Show localisation net, convolution layer 1").press("Enter")
    expect(page.get_by_role("application", name="localisation net, convolution")).to_have_count(1)
    page.get_by_role("button", name="Hide all").click()
    expect(page.locator(".maps")).to_have_count(0)


def test_a_digit_is_drawn_by_keyboard_alone(opened: Opened) -> None:
    page = opened.page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.pad canvas')"):
            break
    for _ in range(10):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(row(page, "ST-CNN tps").locator(".guess-first bdi")).to_have_text("1", timeout=SECONDS)
    page.locator(".layers select").select_option(label="ST-CNN/tps/R/seed0")
    maps = page.get_by_role("application", name="downsampling layer 1: arrow keys").last
    maps.wait_for(timeout=SECONDS)
    maps.press("ArrowRight")
    maps.press("ArrowRight")
    maps.press("PageDown")
    expect(page.locator(".seen-by")).to_contain_text("map 2, row 1, column 2")
    page.locator(".pad canvas").press("Backspace")
    expect(page.locator(".guess-first")).to_have_count(0)
    assert opened.messages == []


@pytest.mark.parametrize(("width", "scheme"), itertools.product(WIDTHS, SCHEMES))
def test_it_is_accessible_and_as_wide_as_the_screen(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    with opened_page(browser, width, scheme) as found:
        page = found.page
        open_pad(page, address)
        draw(page, ZERO)
        answered(page)
        page.get_by_role("button", name="4 × 4 points").click()
        page.get_by_role("button", name="Layers of ST-CNN affine").click()
        page.locator(".maps").first.wait_for(timeout=SECONDS)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        options = {"resultTypes": ["violations"]}
        problems = axe.Axe().run(page, options=options).response["violations"]
        serious = [one for one in problems if one["impact"] in SERIOUS]
        assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []
        assert (found.refused, found.messages) == ([], [])


def test_the_address_holds_which_networks_answer(page: Any) -> None:
    page.locator("details.menu summary", has_text="networks").click()
    page.get_by_role("checkbox", name="FCN", exact=True).uncheck()
    expect(row(page, "FCN")).to_have_count(0)
    assert "without=FCN" in page.url
    page.reload()
    page.locator(".pad canvas").wait_for(timeout=SECONDS)
    expect(page.locator("li.answer")).to_have_count(3)


def test_an_image_file_stands_for_a_drawing_of_other_data_sets(page: Any) -> None:
    """The server's answers are given here: a data set of pictures is not trained for this."""
    name = "<b>streets</b>"
    dataset = {"name": name, "frame": 32, "channels": 3, "background": [0, 0, 0]}
    dataset |= {"class_names": ["a road", "a tram", "a tree"], "kind": "image"}
    own = {"dataset": name, "model": "CNN", "transform": "none", "distortion": "R", "seed": 0}
    cell = {"key": "0" * 16, "label": "CNN/none/R/seed0", "recipe": "fast", **own}
    cell |= {"canvas": 32, "frame": 32, "weights": True, "repeat": ""}
    what = {"datasets": [dataset], "cells": [cell, cell | {"key": "1" * 16, "weights": False}]}
    grey = base64.b64encode(bytes([120] * 32 * 32 * 3)).decode()
    image = {"side": 32, "channels": 3, "pixels": grey}
    answer = {"key": cell["key"], "input": image, "grid": None, "output": None}
    answer |= {"probabilities": [0.1, 0.7, 0.2], "first": 1, "second": 2}
    sent: list[Any] = []

    def reply(route: Any) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_json)
            route.fulfill(json={"drawing": image, "answers": [answer], "seconds": 0.1})
        else:
            route.fulfill(json=what)

    page.route("**/v1/draw", reply)
    page.reload()
    chooser = page.get_by_label("Image file")
    chooser.wait_for(timeout=SECONDS)
    chooser.set_input_files(
        {"name": "<i>x</i>.png", "mimeType": "image/png", "buffer": b"no image"}
    )
    expect(page.get_by_role("alert")).to_contain_text("<i>x</i>.png cannot be read as an image")
    red = np.zeros((40, 60, 3), np.uint8)
    red[:, 10:50] = (255, 0, 0)  # the square in the middle
    chooser.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": png(red)})
    expect(page.locator(".guess-first bdi")).to_have_text("a tram")
    expect(page.locator(".guess-second bdi")).to_have_text("a tree")
    body = sent[-1]
    pixels = np.frombuffer(base64.b64decode(body["pixels"]), np.uint8)
    assert (body["dataset"], body["side"], body["channels"]) == (name, 64, 3)
    inside = pixels.reshape(64, 64, 3)[3:-3, 3:-3].astype(int)  # at its edges a browser may smooth
    assert np.abs(inside - (255, 0, 0)).max() <= 2
    expect(page.locator(".not-here summary")).to_have_text("1 network without weights here")


def png(image: np.ndarray[Any, Any]) -> bytes:
    """A PNG file of an RGB image (H, W, 3)."""
    height, width, _ = image.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"".join(b"\0" + line.tobytes() for line in image)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
