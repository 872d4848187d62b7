"""Responses of a server: a value, or an error."""

from __future__ import annotations

from typing import TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from stn_cluster import __version__
from stn_cluster.client.schemas import (
    STATUS_OF_ERROR,
    TOKEN_VARIABLE,
    VERSION_HEADER,
    ProblemBody,
)
from stn_cluster.errors import ServiceError, UserError

T = TypeVar("T")

# Also of a proxy before a server that is away.
AWAY = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)


def parsed(kind: type[T], content: str | bytes) -> T:
    """A response's JSON as a value.

    Raises:
        ServiceError: it is not one.
    """
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        raise ServiceError(f"not an answer of stn-cluster: {error.errors()[0]['msg']}") from error


def checked(response: httpx.Response, url: str) -> httpx.Response:
    """The response, unless it is an error or somebody else's; a stream is not read.

    Raises:
        UserError: the server refuses what was asked, runs another version, or is none of ours.
        ServiceError: it is away, or in trouble.
    """
    theirs = response.headers.get(VERSION_HEADER)
    if theirs is None and response.status_code in AWAY:
        raise ServiceError(f"{url}: no server answers: HTTP {response.status_code}")
    if theirs is None:
        raise UserError(f"{url}: not stn-cluster (HTTP {response.status_code})")
    if theirs != __version__:
        raise UserError(
            f"{url}: runs stn-cluster {theirs}, and this is {__version__}: "
            "use the same on both sides"
        )
    if response.is_error:
        raise _error(response, url)
    return response


def _error(response: httpx.Response, url: str) -> UserError:
    problem = parsed(ProblemBody, response.read()).error
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return UserError(f"{url}: the token is missing or wrong: set {TOKEN_VARIABLE}")
    if response.is_server_error:
        return ServiceError(f"{url}: {problem.message}")
    kinds = {status.value: kind for kind, status in STATUS_OF_ERROR}
    return kinds.get(response.status_code, UserError)(problem.message, problem.field)


def unreachable(url: str, error: httpx.TransportError) -> str:
    """The message where there is no response at all."""
    return f"{url}: no server answers: {str(error) or type(error).__name__}"
