"""The HTTP interface in front of a real coordinator, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.service_routes import SERVICE
from stn_cluster.store import Store
from support.services import one_node, serve

PATIENCE = 60.0  # seconds
QUICK = {"recipe": "smoke", "models": ["FCN"], "distortions": ["E"]}  # one cell, 8 steps


@contextmanager
def http_service(folder: Path, plugins: tuple[str, ...] = ()) -> Iterator[Backend]:
    """A service with two workers, and an empty folder `data` for data sets."""
    data_root = folder / "data"
    data_root.mkdir()
    with one_node(2):
        client = serve(folder, data_root=str(data_root))
        yield Backend(
            mode="serve",
            client=client.with_patience(15, timeout=60),
            store=Store.open(folder / "store"),
            plugins=plugins,
            data_root=data_root,
        )
        client.stop(60)


def browser(backend: Backend, **options: Any) -> TestClient:
    """Client of the application; it gets internal errors as responses, like other clients."""
    app = create_app(backend, routers=SERVICE, **options)
    return TestClient(app, base_url="http://127.0.0.1:8267", raise_server_exceptions=False)


def run(http: TestClient, job_id: str, **config: Any) -> dict[str, Any]:
    """Submits a job and waits for its end; returns its status."""
    response = http.put(f"/v1/jobs/{job_id}", json={"config": {**QUICK, **config}})
    assert response.status_code == 201, response.text
    return ended(http, job_id)


def ended(http: TestClient, job_id: str) -> dict[str, Any]:
    """Waits for a job's end; returns its status."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").json()
        if status["state"] not in ("queued", "running"):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
