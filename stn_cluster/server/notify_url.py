"""A URL that is told of ended jobs and failed cells: POST of JSON, signed if there is a secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from dataclasses import dataclass, field

import httpx

from stn_cluster import __version__
from stn_cluster.client.proxies import connection, proxy_for
from stn_cluster.client.redirects import forget_location_async, status_text
from stn_cluster.client.urls import why_unusable
from stn_cluster.errors import UserError
from stn_cluster.grid import short_hash

SECRET_VARIABLE = "STN_CLUSTER_NOTIFY_SECRET"
SIGNATURE = "X-Signature"
SECONDS = 20.0  # for a delivery as a whole
_TIMEOUT = httpx.Timeout(10.0)  # for each part of it
_LONGEST = 4000  # characters of a URL


@dataclass(frozen=True)
class NotifyUrl:
    """A URL; make one with `of`."""

    url: httpx.URL = field(repr=False)  # may contain secrets
    secret: str | None = field(repr=False, default=None)

    @classmethod
    def of(cls, text: str, secret: str | None) -> NotifyUrl:
        """Checks a URL, and that this machine can make connections to it.

        Raises:
            UserError: it is not an http or https URL, or its proxy or certificates are unusable.
        """
        allowed = "an http or https URL, as in https://example.org/hook"
        if len(text) > _LONGEST or not text.isprintable() or " " in text:
            raise UserError(f"--notify: {allowed}, not {text[:60]!r}")
        try:
            url = httpx.URL(text)
            reason = why_unusable(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            reason = str(error)
        if reason is not None:
            raise UserError(f"--notify: {allowed}, not {text!r}: {reason}")
        if url.scheme not in ("http", "https"):
            raise UserError(f"--notify: {allowed}, not {text!r}")
        connection(url, proxy_for(url))
        return cls(url, secret)

    @property
    def digest(self) -> str:
        """Name of this target in the queue."""
        return short_hash(["url", str(self.url)], digits=16)

    @property
    def name(self) -> str:
        """For logs: without what may be secret in it."""
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.scheme}://{self.url.host}{port}/..."

    async def deliver(self, body: bytes) -> str | None:
        """Sends a notification; returns why it was not taken, or None if it was."""
        headers = {"Content-Type": "application/json", "User-Agent": f"stn-cluster/{__version__}"}
        if self.secret is not None:
            headers[SIGNATURE] = signature(self.secret, body)
        own = connection(self.url, proxy_for(self.url))
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(
                    timeout=_TIMEOUT,
                    follow_redirects=False,
                    event_hooks={"response": [forget_location_async]},
                    **own,
                ) as client,
                client.stream("POST", self.url, content=body, headers=headers) as response,
            ):
                return _refusal(response.status_code)
        except TimeoutError:
            return f"no answer within {SECONDS:g} seconds"
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__


def signature(secret: str, body: bytes) -> str:
    """Value of the header X-Signature: HMAC-SHA256 of the body.

    The key is the secret's bytes in the environment, which need not be UTF-8.
    """
    return f"sha256={hmac.new(os.fsencode(secret), body, hashlib.sha256).hexdigest()}"


def _refusal(status: int) -> str | None:
    return None if 200 <= status < 300 else status_text(status)
