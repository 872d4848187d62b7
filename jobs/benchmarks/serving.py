"""The server under load, and results of very many cells: real processes, on this machine.

Progress goes to stderr; the last line of stdout is one JSON object. README.md says what is in it.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import harness  # noqa: F401
import httpx
import typer
from large_queue import NOWHERE
from service_under_test import noop_cells, resident_mib
from support.ray_head import free_ports, ray_head
from support.servers import TOKEN, Server

from stn_cluster.client.http_client import Client
from stn_cluster.cluster.protocol import WorkerInfo, utc_now
from stn_cluster.cluster.rows import Attempt, to_record
from stn_cluster.store import Store
from stn_cluster.training.outcome import Outcome

GROUP = 500  # rows in a file, as the service commits them at most
LOOK_SECONDS = 0.02  # between two looks at the server's memory


def main(
    rows: Annotated[int, typer.Option(help="Cells in the store.")] = 100_000,
    clients: Annotated[int, typer.Option(help="At once.")] = 50,
    submissions: Annotated[int, typer.Option(help="By all of them.")] = 200,
) -> None:
    """Measures, and prints one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="serving-") as name, ray_head() as head:
        server = Server(head, Path(name), *free_ports(1))
        fill(server.store, rows)
        say(f"{rows} rows are in the store")
        server.start()
        found = {
            "rows": rows,
            "results": {form: download(server, form) for form in ("parquet", "csv", "json")},
            "load": measure_load(server, clients, submissions),
        }
        server.end(signal.SIGTERM)
    print(json.dumps(found))


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def fill(folder: Path, rows: int) -> None:
    """Makes a store of `rows` succeeded cells."""
    store = Store.open(folder, create=True)
    worker = WorkerInfo("host", "cpu", "2")
    cells = noop_cells(rows)
    for begin in range(0, rows, GROUP):
        store.commit(
            [
                to_record(
                    Attempt("bench", cell, uuid4().hex, utc_now(), worker, 1),
                    Outcome(
                        key=cell.key,
                        iterations=cell.iterations,
                        n_test=100,
                        n_wrong=10,
                        confusion=(10,) * 100,
                    ),
                )
                for cell in cells[begin : begin + GROUP]
            ]
        )


def download(server: Server, form: str) -> dict[str, Any]:
    """All results in one format: seconds, MB, and MiB of the server before and at its largest."""
    pid = server.process.pid
    before, largest, over = resident_mib(pid), [0.0], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            largest[0] = max(largest[0], resident_mib(pid))

    watching = threading.Thread(target=look)
    watching.start()
    began, size, first = time.perf_counter(), 0, 0.0
    with httpx.stream(
        "GET",
        f"{server.url}/v1/results",
        params={"format": form},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=120,
    ) as response:
        response.raise_for_status()
        for piece in response.iter_raw():
            first = first or time.perf_counter() - began
            size += len(piece)
    seconds = time.perf_counter() - began
    over.set()
    watching.join()
    found = {
        "seconds": round(seconds, 2),
        "seconds_to_first_byte": round(first, 2),
        "megabytes": round(size / 1e6, 1),
        "server_mib_before": before,
        "server_mib_most": largest[0],
    }
    say(f"{form}: {found}")
    return found


def measure_load(server: Server, clients: int, submissions: int) -> dict[str, Any]:
    """Measures clients that repeatedly submit jobs and read their status."""
    waits: dict[str, list[float]] = {"submit": [], "status": []}

    def timed(kind: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        began = time.perf_counter()
        call(*args, **kwargs)
        waits[kind].append(time.perf_counter() - began)

    def busy(number: int) -> None:
        with Client(server.url, TOKEN) as client:
            for turn in range(submissions // clients):
                job_id = f"load-{number}-{turn}"
                config = {
                    **{"recipe": "smoke", "models": ["FCN"], "distortions": ["E"]},
                    **{"seeds": [10**6 + 1000 * number + turn], "needs": NOWHERE},
                }
                timed("submit", client.submit, config, job_id=job_id)
                timed("status", client.status, job_id)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(busy, range(clients)))
    found: dict[str, Any] = {
        "clients": clients,
        "submissions": len(waits["submit"]),
        "seconds": round(time.perf_counter() - began, 2),
    }
    for kind, seconds in waits.items():
        found[f"{kind}_seconds"] = {
            "median": round(statistics.median(seconds), 3),
            "p95": round(statistics.quantiles(seconds, n=20)[-1], 3),
        }
    say(str(found))
    return found


if __name__ == "__main__":
    typer.run(main)
