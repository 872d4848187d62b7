"""URLs that connections can be made to."""

from __future__ import annotations

import re

import httpx

_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LAST_PORT = 65_535


def why_unusable(url: httpx.URL) -> str | None:
    """Why no connection can be made to a URL, or None: httpx takes any number as a port, for
    example, and fails only once it connects.

    Raises:
        UnicodeError: the host is no name that the system can look up.
    """
    url.host.encode("idna")  # as the system will
    host = url.raw_host.decode("ascii")
    if not host:
        return "names no host"
    if ":" not in host and _NAME.fullmatch(host) is None:  # with a colon it is an IPv6 address
        return f"{host!r} is not the name of a host"
    if url.port is not None and not 1 <= url.port <= _LAST_PORT:
        return f"port {url.port}: a port is a number from 1 to {_LAST_PORT}"
    return None
