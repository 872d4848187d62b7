"""Redirects, which no client of ours follows.

httpx reads where one leads even so, and what is no URL there ends the request with errors of many
kinds, or as if the server were away. So the header goes before httpx comes to it.
"""

from __future__ import annotations

import httpx

NOT_FOLLOWED = "redirects are not followed"


def forget_location(response: httpx.Response) -> None:
    """A response hook of `httpx.Client`."""
    response.headers.pop("Location", None)


async def forget_location_async(response: httpx.Response) -> None:
    """A response hook of `httpx.AsyncClient`."""
    forget_location(response)


def status_text(status: int) -> str:
    """The status of a response that is an error, for people."""
    return f"HTTP {status}" + (f" ({NOT_FOLLOWED})" if 300 <= status < 400 else "")
