"""Limits on requests: how many of one address are answered at a time; and HEAD, which has no body.

Those that have the token are counted apart from those that do not: behind a proxy, or on a machine
of many users, they have the same address, and strangers keep nobody out. Health is answered to
everybody at any time.
"""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster.server.error_responses import error_response
from stn_cluster.server.session import is_authorised

MOST_AT_ONCE = 500  # requests of one address; each open page has a stream of events
# Without the token, of whatever address, as it may be invented: fewer than the server has threads.
MOST_OF_STRANGERS = 100
ALWAYS = "/v1/health"


class RequestLimits:
    """ASGI middleware with the limits.

    Args:
        app: the application behind it.
        token: the server's token, or None.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        self._in_progress: Counter[str] = Counter()  # by address; "": of strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_authorised(self._token, scope):
            client, most = (scope.get("client") or ("?",))[0], MOST_AT_ONCE
        else:
            client, most = "", MOST_OF_STRANGERS
        if self._in_progress[client] >= most and scope["path"] != ALWAYS:
            said = f"more than {most} requests of {client or 'those without a token'} at a time"
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
