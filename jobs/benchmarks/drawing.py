"""How soon networks answer to a drawing, over HTTP, as the page asks them.

    stn-cluster run configs/quickstart.yaml --store results/quickstart
    python jobs/benchmarks/drawing.py results/quickstart

`stroke_ms` is the time from a stroke, which is sent as the page sends it, to the answers of all
networks; `turn_ms` that of "turn it until it fails". The networks are loaded before, in
`first_ms`, which includes the start of their process.
"""

from __future__ import annotations

import base64
import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from stn_cluster.server.app import create_app
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store

SIDE = 140  # px of the page's pad, as it is sent
GAP = 0.06  # seconds between two strokes


def main(
    store: Annotated[Path, typer.Argument(help="With weights of trained cells.")],
    networks: Annotated[int, typer.Option(help="That answer.")] = 32,
    strokes: Annotated[int, typer.Option(help="That are drawn.")] = 50,
    turns: Annotated[int, typer.Option(help="Times that a drawing is turned.")] = 5,
) -> None:
    """Measures, and prints one line of JSON."""
    app = create_app(StoreBackend(Store.open(store)))
    with (
        ListenAddress(port=0).open() as listening,
        http_server(app, listening) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=120) as client,
    ):
        cells = [cell for cell in client.get("/draw").json()["cells"] if cell["weights"]]
        dataset = cells[0]["dataset"]
        keys = [cell["key"] for cell in cells if cell["dataset"] == dataset][:networks]
        asked = {"dataset": dataset, "side": SIDE, "channels": 1, "keys": keys}
        (first,) = timed(client, "/draw", asked, [drawing(1)])
        drawn = [drawing((number + 1) / strokes) for number in range(strokes)]
        found = {
            "networks": len(keys),
            "first_ms": round(first),
            "stroke_ms": summary(timed(client, "/draw", asked, drawn)),
            "turn_ms": summary(timed(client, "/draw/breaking", asked, [drawing(1)] * turns)),
        }
    print(json.dumps(found))


def drawing(part: float) -> str:
    """The beginning of a drawn 0, as base64."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    ring = np.abs(np.hypot(rows / 48, columns / 31) - 1) * 36 < 5
    begun = (np.arctan2(columns, -rows) % (2 * math.pi)) <= 2 * math.pi * part
    pixels = np.where(ring & begun, 255, 0).astype(np.uint8)
    return base64.b64encode(pixels.tobytes()).decode()


def timed(
    client: httpx.Client, route: str, asked: dict[str, Any], drawings: list[str]
) -> list[float]:
    """Milliseconds of each answer."""
    found = []
    for pixels in drawings:
        began = time.perf_counter()
        answer = client.post(route, json=asked | {"pixels": pixels}).raise_for_status().json()
        found.append(1000 * (time.perf_counter() - began))
        assert not any("error" in one for one in answer["answers"]), answer["answers"]
        time.sleep(GAP)
    return found


def summary(times: list[float]) -> dict[str, int]:
    """Median, 95th percentile and largest of times."""
    middle, high = np.percentile(times, [50, 95])
    return {"median": round(middle), "p95": round(high), "largest": round(max(times))}


if __name__ == "__main__":
    typer.run(main)
