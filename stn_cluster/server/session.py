"""Sessions of browsers: the token is traded for a cookie, which pages cannot read.

A cookie is its time of expiry, signed with the token, so that it outlives the server's process and
ends with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from http.cookies import CookieError, SimpleCookie

LASTS = 7 * 24 * 3600  # seconds


def cookie_name(port: int) -> str:
    """Name of the cookie of a server: browsers send those of all ports of a host."""
    return f"stn_cluster_{port}"


def new_cookie(token: str, now: float | None = None) -> str:
    """Value of a cookie that is valid from now on."""
    expires = str(int((time.time() if now is None else now) + LASTS))
    return f"{expires}.{_signature(token, expires)}"


def is_valid(token: str, value: str, now: float | None = None) -> bool:
    """Whether a cookie's value was made with this token, and has not expired."""
    expires, _, signature = value.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(token, expires).encode()):
        return False
    return int(expires) > (time.time() if now is None else now)


def cookie_of(header: str, name: str) -> str | None:
    """Value of a cookie in a request's Cookie header."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return None if found is None else found.value


def _signature(token: str, expires: str) -> str:
    return hmac.new(token.encode(), f"session:{expires}".encode(), hashlib.sha256).hexdigest()
