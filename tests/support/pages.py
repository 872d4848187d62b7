"""The application of a store alone, as `view` serves it, for clients in this process."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from stn_cluster.server.app import create_app
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store

ADDRESS = "http://127.0.0.1:8268"


def page_of(store: Store, **options: Any) -> TestClient:
    """Client of a store's page."""
    app = create_app(StoreBackend(store), **options)
    return TestClient(app, base_url=ADDRESS, raise_server_exceptions=False)
