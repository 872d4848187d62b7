"""Responses of a server: a value, or an error."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from stn_cluster import __version__
from stn_cluster.client.redirects import status_text
from stn_cluster.client.schemas import (
    OUTDATED_HEADER,
    STATUS_OF_ERROR,
    TOKEN_VARIABLE,
    VERSION_HEADER,
    ProblemBody,
)
from stn_cluster.errors import ServiceError, UserError
from stn_cluster.plain_text import may_act, one_line, plain_lines, plain_values

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

# A proxy in front of an unavailable server sends them, too.
AWAY = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)


def parsed(kind: type[T], content: str | bytes) -> T:
    """Parses a response's JSON; its texts cannot act on a terminal, whatever the server is.

    Raises:
        ServiceError: it does not match the type.
    """
    adapter = TypeAdapter(kind)
    try:
        text = content if isinstance(content, str) else content.decode()
        if not may_act(text):
            return adapter.validate_json(text)
        return adapter.validate_json(json.dumps(plain_values(json.loads(text))))
    except (ValueError, RecursionError) as error:  # also ValidationError
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "not JSON"
        raise ServiceError(f"not a response of stn-cluster: {plain_lines(reason)}") from error


def rows(response: httpx.Response) -> pd.DataFrame:
    """Rows of a response in Parquet.

    Raises:
        ServiceError: they cannot be read.
    """
    from stn_cluster.store import from_parquet

    try:
        return from_parquet(response.content)
    except (OSError, ValueError) as error:  # pyarrow's are among them
        raise ServiceError("not a response of stn-cluster: its rows cannot be read") from error


def text(response: httpx.Response) -> str:
    """Text of a response, which cannot act on a terminal, whatever the server is."""
    return plain_lines(response.text)


def checked(response: httpx.Response, url: str) -> httpx.Response:
    """Checks a response and returns it; does not read a stream.

    Raises:
        UserError: the server refuses the request, has another version, or is not stn-cluster.
        ServiceError: it is unavailable, or has an internal error.
    """
    server_version = response.headers.get(VERSION_HEADER)
    if server_version is None and response.status_code in AWAY:
        raise ServiceError(f"{url}: no server answers: HTTP {response.status_code}")
    if server_version is None:
        raise UserError(f"{url}: not stn-cluster: {status_text(response.status_code)}")
    if server_version != __version__:
        raise UserError(
            f"{url}: runs stn-cluster {one_line(server_version)}, but this is {__version__}: "
            "use the same version on both sides"
        )
    if response.is_error:
        raise _error(response, url)
    return response


def warned(response: httpx.Response) -> httpx.Response:
    """Warns of outdated results in a response, as `load_results` does, and returns it."""
    if (said := response.headers.get(OUTDATED_HEADER)) is not None:
        from stn_cluster.store import OutdatedWarning

        for line in parsed(list[str], said):
            warnings.warn(one_line(line), OutdatedWarning, stacklevel=3)
    return response


def _error(response: httpx.Response, url: str) -> UserError:
    problem = parsed(ProblemBody, response.read()).error
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return UserError(f"{url}: the token is missing or wrong: set {TOKEN_VARIABLE}")
    if response.is_server_error:
        return ServiceError(f"{url}: {problem.message}")
    kinds = {status.value: kind for kind, status in STATUS_OF_ERROR}
    return kinds.get(response.status_code, UserError)(problem.message, problem.field)


def unreachable(url: str, error: httpx.RequestError) -> str:
    """Error message for a server that does not respond."""
    return f"{url}: no server answers: {str(error) or type(error).__name__}"
