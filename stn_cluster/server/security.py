"""Security middleware: checks the token, the Host, the content type and the body's size."""

from __future__ import annotations

import hmac
import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster.server.error_responses import error_response

OPEN = ("/v1/health", "/v1/ready")  # for probes, without a token
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY = 2 * 2**20  # bytes; a config of 100,000 seeds has half of it


class SecurityMiddleware:
    """ASGI middleware.

    Args:
        app: what is guarded.
        token: what every request must bear; None: none is asked for.
        loopback: whether it listens on this machine only. Then a web page somewhere must not
            reach it through its reader's browser: under another name (DNS rebinding), or with a
            form, which can send any content type but JSON.
    """

    def __init__(self, app: ASGIApp, token: str | None, loopback: bool) -> None:
        self._app = app
        self._token = token
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope["method"], scope["path"], Headers(scope=scope))
        body = b""
        if refused is None:
            try:
                most = MAX_BODY if scope["method"] in ("PUT", "POST") else 0
                body = await _read(receive, Headers(scope=scope), most)
            except _TooLargeError:
                refused = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {most:,} bytes"
        if refused is not None:
            await error_response(*refused)(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    def _refused(self, method: str, path: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
        if self._loopback and not _is_local(_name(headers.get("host", ""))):
            return HTTPStatus.BAD_REQUEST, f"Host: one of {', '.join(LOCAL_HOSTS)}"
        if self._token and path not in OPEN and not self._bears_token(headers):
            return HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN"
        if method not in ("GET", "HEAD", "OPTIONS") and not _is_json(headers):
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type: application/json"
        return None

    def _bears_token(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        wanted = (self._token or "").encode()
        # In constant time: how long it takes must not tell how much of it was right.
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), wanted)


class _TooLargeError(Exception):
    pass


async def _read(receive: Receive, headers: Headers, most: int) -> bytes:
    """The whole body: bodies are small, and one that is not is noticed before it is all there."""
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise _TooLargeError
    parts = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _TooLargeError
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body out once more, then whatever else comes: that the client has gone."""
    given = False

    async def first_the_body() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first_the_body


def _is_local(name: str) -> bool:
    return name in LOCAL_HOSTS or re.fullmatch(r"127(\.\d{1,3}){3}", name) is not None


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() else host.lower()


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
