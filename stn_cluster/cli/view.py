"""Command that serves the page of a store."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

import typer

from stn_cluster.cli.options import DataRootOption, PluginsOption
from stn_cluster.cli.output import write
from stn_cluster.client.schemas import TOKEN_VARIABLE, VIEW_PORT
from stn_cluster.errors import UserError


def view(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Result store: folder or URI.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free.")] = VIEW_PORT,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody on this machine look.")
    ] = False,
    data_root: DataRootOption = None,
    plugins: PluginsOption = None,
) -> None:
    """Serve the page of a store, and print its address: the matrix, every cell, its images.

    Nothing is trained or written. Ends with Ctrl-C.
    """
    from stn_cluster.server.listen import ListenAddress
    from stn_cluster.server.view_store import view_store

    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    listen = ListenAddress(host, port, None if no_token else given or secrets.token_urlsafe(24))
    if no_token and not listen.loopback:
        raise UserError(f"--no-token: others could reach {host}; leave one of them out")
    view_store(store, listen, data_root, tuple(plugins or ()), lambda line: write(f"{line}\n"))
