"""The page in a real browser: what it weighs, when a large matrix is there, how soon it follows.

    python jobs/benchmarks/page_speed.py --chromium /usr/bin/chromium

`wire_bytes` is all that the matrix of a store loads, as it is sent. `painted_ms` is the time to the
first paint, `table_ms` that to the table. `update_ms` is the time from the arrival of an event of a
job's stream to the second frame after it, of a service of no-op cells.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright
from service_under_test import PAPER, cluster, noop_cells, service
from support.records import make_record

from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import Job
from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.service_routes import SERVICE
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
TABLE = "table"
# Notes the time from each event of a job's stream until two frames later, when it is on the screen.
WATCH = """
window.updates = [];
const decode = TextDecoder.prototype.decode;
TextDecoder.prototype.decode = function (...given) {
  const text = decode.apply(this, given), began = performance.now();
  const note = () => updates.push(performance.now() - began);
  if (text.includes("event: job")) requestAnimationFrame(() => requestAnimationFrame(note));
  return text;
};
"""


def main(
    chromium: Annotated[Path, typer.Option(help="The browser.")] = Path("/usr/bin/chromium"),
    cells: Annotated[int, typer.Option(help="Of the job that is followed.")] = 1000,
    stored: Annotated[list[int] | None, typer.Option(help="Cells of the stores.")] = None,
    rounds: Annotated[int, typer.Option(help="Times that each store's page is opened.")] = 5,
) -> None:
    """Measures, and prints one line of JSON."""
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="page-") as folder,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=str(chromium), args=FLAGS) as browser,
    ):
        for count in stored or [32, 10_000]:
            store = filled(Path(folder) / str(count), wide(count))
            found[f"store of {count:,}"] = opened(browser, store, rounds)
        found[f"job of {cells:,}"] = followed(browser, Path(folder) / "job", cells)
    print(json.dumps(found))


def wide(count: int) -> list[Cell]:
    """Cells of a grid with one seed: so many entries of one matrix, or of several."""
    canvases = [f"R:{size}" for size in range(28, 28 + min(300, -(-count // 8)))]
    seeds = -(-count // (8 * len(canvases)))
    return list(noop_cells(seeds, **{**PAPER, "distortions": canvases}))[:count]


def filled(folder: Path, cells: list[Cell]) -> Store:
    """A store with a result of each cell."""
    store = Store.open(folder, create=True)
    for begin in range(0, len(cells), 500):
        part = cells[begin : begin + 500]
        store.commit([make_record(cell, error=1 + place % 7) for place, cell in enumerate(part)])
    say(f"{len(cells):,} cells are stored")
    return store


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Address of an application."""
    with ListenAddress(port=0).open() as listening, http_server(app, listening) as server:
        yield server.url


def opened(browser: Browser, store: Store, rounds: int) -> dict[str, Any]:
    """Weight and times of a store's matrix."""
    painted, tables = [], []
    with served(create_app(StoreBackend(store))) as url:
        for _ in range(rounds):
            context = browser.new_context()
            page = context.new_page()
            weight = Weight(page)
            began = time.perf_counter()
            page.goto(f"{url}/#/matrix")
            page.wait_for_selector(TABLE, timeout=120_000)
            tables.append(1000 * (time.perf_counter() - began))
            painted.append(first_paint(page))
            page.wait_for_timeout(1500)
            context.close()
    return {
        "wire_bytes": weight.bytes,
        "painted_ms": [round(one) for one in painted],
        "painted_ms_median": round(median(painted)),
        "table_ms": [round(one) for one in tables],
        "table_ms_median": round(median(tables)),
    }


class Weight:
    """Bytes that a page loads, as they are sent."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", self._add)

    def _add(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])


def first_paint(page: Page) -> float:
    """Milliseconds from the navigation to the first contentful paint."""
    entry = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    return float(page.evaluate(entry))


def followed(browser: Browser, folder: Path, count: int) -> dict[str, Any]:
    """Times from events to frames, of a job that runs."""
    cells = noop_cells(-(-count // 32), **PAPER)[:count]
    with cluster(2), service(folder) as client:
        backend = Backend(mode="serve", client=client, store=Store.open(folder / "store"))
        app = create_app(backend, routers=SERVICE)
        with served(app) as url:
            page = browser.new_page()
            page.add_init_script(WATCH)
            client.submit(Job(job_id="watched", cells=cells))
            page.goto(f"{url}/#/matrix?job=watched")
            while not client.status("watched").ended:
                page.wait_for_timeout(200)
            page.wait_for_timeout(3000)
            updates: list[float] = page.evaluate("updates")
            page.close()
    return {
        "events": len(updates),
        "update_ms_median": round(median(updates), 1) if updates else None,
        "update_ms_largest": round(max(updates), 1) if updates else None,
    }


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
