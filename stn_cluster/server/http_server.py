"""The HTTP server itself, in a thread of its own."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from stn_cluster.server.timed_protocol import TimedProtocol, backlog

DRAIN_SECONDS = 5  # time for requests in progress when it stops


@dataclass(frozen=True)
class HttpServer:
    """A server that runs."""

    url: str  # without a slash at the end
    thread: threading.Thread


@contextmanager
def http_server(app: FastAPI, listening: socket.socket) -> Iterator[HttpServer]:
    """Serves an application within the block.

    Args:
        app: the application.
        listening: the socket.
    """
    _allow_connections()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # RequestLog logs requests as JSON
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        http=TimedProtocol,
        backlog=backlog(),
    )
    server = uvicorn.Server(config)
    # In a thread, where uvicorn installs no signal handlers: there is more to do after its end.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    host, port = listening.getsockname()[:2]
    try:
        yield HttpServer(f"http://{f'[{host}]' if ':' in host else host}:{port}", thread)
    finally:
        server.should_exit = True
        thread.join()


def _allow_connections() -> None:
    """Lets this process have as many open files, and so connections, as the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
