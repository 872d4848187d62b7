"""The page of a run on this machine, as long as it runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.settings import Settings
from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.service_routes import WATCHING
from stn_cluster.server.view_store import page_address
from stn_cluster.store import Store

PATIENCE_SECONDS = 15.0  # time that a request waits while Ray restarts the coordinator
ANSWER_SECONDS = 60.0


def page_of_run(
    announce: Callable[[str], None], port: int = 0
) -> Callable[[CoordinatorClient, Settings, str], AbstractContextManager[None]]:
    """What serves the page of a run beside it: see `run_job`.

    Args:
        announce: is told the page's address, which has a token for the run's lifetime.
        port: to listen on, on this machine alone; 0: any free one.
    """

    @contextmanager
    def serve_page(client: CoordinatorClient, settings: Settings, job_id: str) -> Iterator[None]:
        backend = Backend(
            store=Store.open(settings.store),
            data_root=Path(settings.data_root) if settings.data_root else None,
            plugins=settings.plugins,
            mode="run",
            job_id=job_id,
            client=client.with_patience(PATIENCE_SECONDS, ANSWER_SECONDS),
        )
        listen = ListenAddress(port=port, token=secrets.token_urlsafe(24))
        app = create_app(backend, listen.token, routers=WATCHING)
        with (
            listen.open() as listening,
            http_server(app, listening) as server,
            closing(backend.drawings),  # first, so that no request waits for it
        ):
            announce(page_address(server.url, listen.token))
            yield

    return serve_page
