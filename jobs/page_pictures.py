"""Pictures of the page for the README, of a store of one's own.

python jobs/page_pictures.py --store results/quickstart     # needs Chromium and playwright
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Page, sync_playwright

from stn_cluster import load_results
from stn_cluster.server.app import create_app
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZE = {"width": 1180, "height": 840}
ANGLE = 35  # degrees, by which the drawing is turned


def main(
    store: Annotated[Path, typer.Option(help="Result store with weights.")],
    output: Annotated[Path, typer.Option(help="Folder.")] = Path("docs/figures"),
    data_root: Annotated[Path | None, typer.Option(help="Folder of data files.")] = None,
    chromium: Annotated[Path, typer.Option(help="The browser.")] = Path("/usr/bin/chromium"),
) -> None:
    """Write page-matrix.png, page-cell.png and page-draw.png."""
    opened = Store.open(store)
    rows = load_results(opened, model="ST-CNN", transform="tps", distortion="RTS")
    key = rows["key"].iloc[0]
    with (
        served(StoreBackend(opened, data_root=data_root)) as url,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=str(chromium), args=FLAGS) as browser,
    ):
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{url}/#/matrix")
        page.wait_for_selector("table")
        page.wait_for_timeout(4000)  # intervals and marks
        take(page, output / "page-matrix.png")
        page.goto(f"{url}/#/cells/{key}")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(6000)  # images, by PyTorch
        take(page, output / "page-cell.png")
        page.goto(f"{url}/#/draw?distortion=RTS")
        page.wait_for_selector("canvas")
        draw_a_two(page)
        angle = page.locator("input[type=number]").first
        angle.fill(str(ANGLE))
        angle.press("Enter")
        page.wait_for_timeout(8000)  # networks are loaded
        page.set_viewport_size({**SIZE, "height": 1430})
        take(page, output / "page-draw.png")


def take(page: Page, path: Path) -> None:
    """Takes a picture, without the folder in which this machine has the store."""
    page.evaluate("document.querySelector('.store').textContent = 'results/quickstart'")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)


@contextmanager
def served(backend: StoreBackend) -> Iterator[str]:
    """Address of a store's page."""
    app = create_app(backend)
    with ListenAddress(port=0).open() as listening, http_server(app, listening) as server:
        yield server.url


def draw_a_two(page: Page) -> None:
    """Draws a 2 on the pad: an arc, a diagonal, and a line."""
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    arc = [math.radians(angle) for angle in range(-170, 40, 15)]
    stroke = [(0.5 + 0.2 * math.cos(a), 0.32 + 0.18 * math.sin(a)) for a in arc]
    stroke += [(0.32, 0.78), (0.72, 0.78)]
    for place, (x, y) in enumerate(stroke):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
        if place == 0:
            page.mouse.down()
    page.mouse.up()


if __name__ == "__main__":
    typer.run(main)
