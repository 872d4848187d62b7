"""Limits on requests: how many of one address are answered at a time; and HEAD, which has no body.

Health is answered to everybody at any time.
"""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster.server.error_responses import error_response

MOST_AT_ONCE = 500  # requests of one address; each open page has a stream of events
ALWAYS = "/v1/health"


class RequestLimits:
    """ASGI middleware with the limits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_progress: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        if self._in_progress[client] >= MOST_AT_ONCE and scope["path"] != ALWAYS:
            said = f"more than {MOST_AT_ONCE} requests of {client} at a time"
            await error_response(HTTPStatus.TOO_MANY_REQUESTS, said)(scope, receive, send)
            return
        self._in_progress[client] += 1
        try:
            await (self._head if scope["method"] == "HEAD" else self._app)(scope, receive, send)
        finally:
            self._in_progress[client] -= 1
            if not self._in_progress[client]:
                del self._in_progress[client]

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers HEAD with the headers that GET would have."""
        async with anyio.create_task_group() as tasks:

            async def send_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    tasks.cancel_scope.cancel()  # a stream of events would never end

            await self._app({**scope, "method": "GET"}, receive, send_headers)
