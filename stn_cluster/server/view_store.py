"""`stn-cluster view`: the page of a store, without Ray and without a service."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from stn_cluster.cluster.signals import interrupts
from stn_cluster.registry import load_plugins
from stn_cluster.server.app import create_app
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.store_backend import StoreBackend
from stn_cluster.store import Store


def view_store(
    store: str,
    listen: ListenAddress,
    data_root: Path | None = None,
    plugins: tuple[str, ...] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Serves the page of a store until Ctrl-C or SIGTERM; nothing is ever written to the store.

    Args:
        store: path or URI.
        listen: address to listen on.
        data_root: folder of data files, for images, and for labels that the store lacks.
        plugins: modules of components that cells need, for images and drawings.
        announce: is told the page's address.

    Raises:
        KeyboardInterrupt: it was ended by Ctrl-C.
        UserError: the input is wrong.
        StoreError: there is no store, or it cannot be read.
    """
    listen.check()
    opened = Store.open(store)
    opened.check()
    load_plugins(plugins)
    backend = StoreBackend(opened, data_root=data_root, plugins=plugins)
    app = create_app(backend, listen.token, listen.loopback)
    with (
        listen.open() as listening,
        interrupts(raises=False) as stop_requested,
        http_server(app, listening) as server,
        closing(backend.drawings),  # first, so that no request waits for it
    ):
        announce(page_address(server.url, listen.token))
        stop_requested.wait()
    if stop_requested.signal == signal.SIGINT:
        raise KeyboardInterrupt


def page_address(url: str, token: str | None) -> str:
    """Address of the page: the token is in its fragment, which browsers do not send."""
    return f"{url}/" if token is None else f"{url}/#t={quote(token, safe='')}"
