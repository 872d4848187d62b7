"""The server's log: one JSON object per line."""

from __future__ import annotations

import logging
import time

from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster import __version__
from stn_cluster.client.schemas import VERSION_HEADER

log = logging.getLogger("stn_cluster.server.requests")


def log_as_json(level: int = logging.INFO) -> None:
    """Makes all loggers write JSON to stderr."""
    handler = logging.StreamHandler()
    fields = {"levelname": "level", "name": "logger"}
    handler.setFormatter(
        JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=fields, timestamp="time")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "uvicorn.error", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class RequestLog:
    """ASGI middleware: logs one line per request, without its query and headers (for privacy).

    It also adds the version to every response, which clients compare with their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_with_version(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[VERSION_HEADER] = __version__
            await send(message)

        try:
            await self._app(scope, receive, send_with_version)
        finally:
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round(1e3 * (time.perf_counter() - started), 1),
                "client": (scope.get("client") or ("",))[0],
            }
            log.info("request", extra=fields)
