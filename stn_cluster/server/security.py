"""Security middleware: checks the token, the Host, the content type and the body's size."""

from __future__ import annotations

import hmac
import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster.server.error_responses import error_response

OPEN = ("/v1/health", "/v1/ready")  # probes need no token
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY = 2 * 2**20  # bytes; a config of 100,000 seeds has half of it


class SecurityMiddleware:
    """ASGI middleware that refuses unauthorised and unsafe requests.

    Args:
        app: the application behind it.
        token: token that every request must have; None: no token is required.
        loopback: whether the server listens only on this machine. Then a foreign web page must not
            reach it through the user's browser: neither under another host name (DNS rebinding)
            nor with a form, which can send any content type except JSON.
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
        await self._app(scope, _replayed(body, receive), send)

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
        # Constant-time comparison: its duration must not reveal how much of the token is correct.
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), wanted)


class _TooLargeError(Exception):
    pass


async def _read(receive: Receive, headers: Headers, most: int) -> bytes:
    """Reads the whole body; raises as soon as it exceeds `most` bytes."""
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


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Makes a `receive` that first returns the body, then later messages (such as disconnect)."""
    body_sent = False

    async def receive_body_first() -> Message:
        nonlocal body_sent
        if body_sent:
            return await receive()
        body_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body_first


def _is_local(name: str) -> bool:
    return name in LOCAL_HOSTS or re.fullmatch(r"127(\.\d{1,3}){3}", name) is not None


def _name(host: str) -> str:
    """Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() else host.lower()


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
