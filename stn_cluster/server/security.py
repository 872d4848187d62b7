"""Security middleware: checks the token or session, the Host, the origin, the content type and the
body's size; and tells browsers what pages of this server may do."""

from __future__ import annotations

import re
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stn_cluster.server.error_responses import error_response
from stn_cluster.server.session import is_authorised

# Probes need no token, nor do the page's files, nor what trades the token for a session.
OPEN = ("/v1/health", "/v1/ready", "/v1/session", "/v1/docs", "/")
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
OPEN_FOLDER = "/page/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
BODY_SECONDS = 30.0  # time that a body may take
MAX_BODY = 2 * 2**20  # bytes; a config of 100,000 seeds has half of it


class SecurityMiddleware:
    """ASGI middleware that refuses unauthorised and unsafe requests.

    A browser's write must come from this server's own page, whoever is logged in.

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
        send = _with_headers(send)
        refused = self._refused(scope)
        body = b""
        if refused is None:
            try:
                most = 0 if scope["method"] in SAFE else MAX_BODY
                with anyio.fail_after(BODY_SECONDS):
                    body = await _read(receive, Headers(scope=scope), most)
            except _TooLargeError:
                refused = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {most:,} bytes"
            except TimeoutError:
                refused = HTTPStatus.REQUEST_TIMEOUT, f"a body within {BODY_SECONDS:g} seconds"
        if refused is not None:
            response = error_response(*refused)
            if {"transfer-encoding", "content-length"} & set(Headers(scope=scope)):
                response.headers["Connection"] = "close"  # what comes next is no request
            await response(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _refused(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        method, path, headers = scope["method"], scope["path"], Headers(scope=scope)
        if self._loopback and not _is_local(_name(headers.get("host", ""))):
            return HTTPStatus.BAD_REQUEST, f"Host: one of {', '.join(LOCAL_HOSTS)}"
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy before it may take the other one, and a part of the body for a request.
            return HTTPStatus.BAD_REQUEST, "Content-Length: not with Transfer-Encoding"
        is_open = path in OPEN or path.startswith(OPEN_FOLDER)
        if not is_open and not is_authorised(self._token, scope):
            return HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN"
        if method not in SAFE:
            if not _is_own(headers):
                return HTTPStatus.FORBIDDEN, "Origin: a page of another server may not do this"
            if not _is_json(headers):
                return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type: application/json"
        return None


def _is_own(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _with_headers(send: Send) -> Send:
    """Makes a `send` that adds the headers for browsers."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


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
