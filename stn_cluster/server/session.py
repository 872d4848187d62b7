"""Sessions of browsers: the token is traded for a cookie and a key, and both are needed.

Pages cannot read the cookie; but browsers send it to every port of a host, so that a server of
somebody else's on this machine may get it. The key is kept by the page, and browsers keep that
apart by port. Both are signed with the token, so that a session outlives the server's process and
ends with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

LASTS = 7 * 24 * 3600  # seconds
KEY_HEADER = "stn-cluster-session"  # of requests: the key


@dataclass(frozen=True)
class Session:
    """Cookie and key that a browser has to show."""

    cookie: str  # time of its expiry, a number of its own, and their signature
    key: str


def cookie_name(port: int) -> str:
    """Name of the cookie of a server: browsers send those of all ports of a host."""
    return f"stn_cluster_{port}"


def new_session(token: str, now: float | None = None) -> Session:
    """A session that is valid from now on."""
    expires = int((time.time() if now is None else now) + LASTS)
    name = f"{expires}-{secrets.token_hex(8)}"
    return Session(f"{name}.{_signature(token, 'cookie', name)}", _signature(token, "key", name))


def is_valid(token: str, session: Session, now: float | None = None) -> bool:
    """Whether a session was made with this token, and has not expired."""
    name, _, signature = session.cookie.partition(".")
    signed = hmac.compare_digest(signature.encode(), _signature(token, "cookie", name).encode())
    keyed = hmac.compare_digest(session.key.encode(), _signature(token, "key", name).encode())
    if not signed or not keyed:
        return False
    return int(name.partition("-")[0]) > (time.time() if now is None else now)


def cookie_of(header: str, name: str) -> str | None:
    """Value of a cookie in a request's Cookie header.

    Ours has no quotes or escapes; `http.cookies` would take a tenth of a second for a long header
    of anybody's.
    """
    for part in header.split(";"):
        found, _, value = part.partition("=")
        if found.strip() == name:
            return value.strip()
    return None


def is_authorised(token: str | None, scope: Scope) -> bool:
    """Whether a request has the token, or a valid session; without a token, everybody has.

    A token that is given decides, right or wrong.
    """
    if token is None:
        return True
    headers = Headers(scope=scope)
    if "authorization" in headers:
        kind, _, given = headers["authorization"].partition(" ")
        # Constant-time comparison: its duration must not reveal how much of it is correct.
        same = hmac.compare_digest(given.strip().encode(), token.encode())
        return kind.lower() == "bearer" and same
    name = cookie_name((scope.get("server") or ("", 0))[1])
    cookie = cookie_of(headers.get("cookie", ""), name)
    return cookie is not None and is_valid(token, Session(cookie, headers.get(KEY_HEADER, "")))


def _signature(token: str, purpose: str, name: str) -> str:
    return hmac.new(token.encode(), f"{purpose}:{name}".encode(), hashlib.sha256).hexdigest()
