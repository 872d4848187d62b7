"""The page in a real browser: from the file system, without a network, narrow and wide, light and
dark."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reported_stores import fill

from stn_cluster.document.report_files import write_report_files
from stn_cluster.report.comparison import compare
from stn_cluster.report.statistics.paired import mcnemar_p, sign_flip_p, tango
from stn_cluster.report.statistics.questions import LEVEL
from stn_cluster.store import Store, load_results

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"
)
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run"),
)
WIDTHS, SCHEMES = (390, 1440), ("light", "dark")
SERIOUS = {"serious", "critical"}
CLOSE = {"rtol": 0, "atol": 1e-9}


@dataclass(frozen=True)
class Opened:
    """A page, and what it did."""

    page: Any
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "store"
    fill(Store.open(folder, create=True))
    write_report_files(str(folder))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=itertools.product(WIDTHS, SCHEMES), ids=str)
def opened(request: pytest.FixtureRequest, browser: Any, filled: Path) -> Iterator[Opened]:
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    found = Opened(page)
    page.on("request", lambda sent: found.requests.append(sent.url))
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    page.goto((filled / "report" / "report.html").as_uri())
    yield found
    context.close()


@pytest.fixture(scope="module")
def page(browser: Any, filled: Path) -> Iterator[Any]:
    made = browser.new_page(offline=True)
    made.goto((filled / "report" / "report.html").as_uri())
    yield made
    made.close()


def test_it_asks_for_nothing_and_has_nothing_to_complain_of(opened: Opened, filled: Path) -> None:
    opened.page.locator("details").first.wait_for(state="attached")
    own = (filled / "report" / "report.html").as_uri()
    assert [url for url in opened.requests if not url.startswith("data:")] == [own]
    assert opened.messages == []


def test_nothing_is_wider_than_the_screen_even_unfolded(opened: Opened) -> None:
    opened.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = """[...document.querySelectorAll("body *")].filter(
      (one) => !one.closest(".scroll svg, .scroll table")
        && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)"""
    assert opened.page.evaluate(outside) == []


def test_people_with_aids_can_use_it(opened: Opened) -> None:
    opened.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    options = {"resultTypes": ["violations"]}  # what passes is not described, which takes long
    found = axe.Axe().run(opened.page, options=options).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == []


def test_its_colours_follow_the_scheme_also_in_figures(opened: Opened) -> None:
    shown = opened.page.evaluate(
        """[getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector("figure svg path")).fill,
            matchMedia("(prefers-color-scheme: dark)").matches]"""
    )
    assert shown[0] == shown[1] == ("rgb(22, 24, 29)" if shown[2] else "rgb(255, 255, 255)")


# --- the statistics of its script ---


def test_mcnemars_test_is_pythons(page: Any) -> None:
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.integers(0, high, (60, 2)) for high in (8, 200, 4000)])
    found = page.evaluate("(counts) => counts.map(([b, c]) => mcnemar(b, c))", counts.tolist())
    expected = mcnemar_p(counts[:, 0], counts[:, 1])
    np.testing.assert_allclose(found, expected, **CLOSE)
    likely = expected > 1e-250  # below, powers of two vanish
    np.testing.assert_allclose(np.array(found)[likely], expected[likely], rtol=1e-9)


def test_the_sign_flip_test_is_pythons(page: Any) -> None:
    rng = np.random.default_rng(0)
    cases = [rng.integers(-high, high + 2, size) for high in (1, 3, 10) for size in (0, 5, 300)]
    cases += [2 * cases[4], np.array([7]), np.array([1, -1, 40])]
    found = page.evaluate("(cases) => cases.map(signFlip)", [case.tolist() for case in cases])
    np.testing.assert_allclose(found, [sign_flip_p(case) for case in cases], **CLOSE)


def test_tangos_interval_is_pythons(page: Any) -> None:
    cases = [(0, 0, 100), (5, 0, 100), (0, 9, 50), (122, 26, 10_000), (3.5, 8.25, 412.5)]
    found = page.evaluate("(cases) => cases.map((one) => tango(...one, 1.959963984540054))", cases)
    np.testing.assert_allclose(found, [tango(*case, LEVEL) for case in cases], **CLOSE)


def test_two_cells_are_compared_as_by_the_command(page: Any, filled: Path) -> None:
    """One test set with versions of its images, two without."""
    rows = load_results(filled, status="succeeded")
    pairs = [
        (a, b)
        for _, column in rows.groupby(["dataset", "distortion"])
        for a, b in itertools.combinations(column.to_dict("records"), 2)
    ]
    assert len(pairs) == 6 + 3 + 3
    for a, b in pairs:
        page.select_option("#cell-a", label=a["label"])
        page.select_option("#cell-b", label=b["label"])
        (pair,) = compare(a["key"], b["key"], store=str(filled)).pairs
        shown = page.locator("#result").evaluate("(one) => ({...one.dataset})")
        found = [float(shown[name]) for name in ("p", "difference", "low", "high")]
        expected = [pair.p, *(x / 100 for x in (pair.difference, pair.low, pair.high))]
        np.testing.assert_allclose(found, expected, **CLOSE)
        assert int(shown["onlyA"]) == len(pair.only_a)
        titles = page.locator("#result .tile").evaluate_all("(all) => all.map((t) => t.title)")
        images = [int(title.split()[1].rstrip(":")) for title in titles]
        assert set(images[: min(48, len(pair.only_a))]) <= set(pair.only_a)


# --- what a reader does ---


def test_two_clicks_in_the_table_compare_entries(page: Any) -> None:
    table = page.locator("table.matrix").nth(1)  # letters: R, E
    buttons = table.locator("button.entry")
    first, second = buttons.nth(0), buttons.nth(2)  # CNN and ST-CNN affine, on R
    first.click()
    second.click()
    assert (first.get_attribute("data-chosen"), second.get_attribute("data-chosen")) == ("A", "B")
    assert page.locator("#cell-a option:checked").inner_text() == "CNN/none/R/seed0"
    assert page.locator("#cell-b option:checked").inner_text() == "ST-CNN/affine/R/seed0"
    assert "points of error" in page.locator("#result").inner_text()


def test_pictures_are_shown_where_images_can_be_made(page: Any) -> None:
    page.select_option("#cell-a", label="CNN/none/clean/seed0")
    picture = page.locator("#result .picture").first
    assert picture.bounding_box()["width"] == 56
    assert "data:image/png" in picture.evaluate("(one) => one.style.backgroundImage")
    page.select_option("#cell-a", label="CNN/none/R/seed0")
    assert page.locator("#result .picture").count() == 0
    assert page.locator("#result .tile").first.inner_text().startswith("#")


def test_all_images_are_shown_on_demand(page: Any) -> None:
    page.select_option("#cell-a", label="CNN/none/clean/seed0")
    page.select_option("#cell-b", label="ST-CNN/tps/clean/seed0")
    more = page.locator("#result button.more").first
    before = page.locator("#result .tile").count()
    rest = int(more.inner_text().split()[-1].replace(",", ""))
    more.click()
    assert page.locator("#result .tile").count() == before + rest
