"""Error responses, all with the same JSON: a code, a line for people, the wrong field."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stn_cluster.client.schemas import STATUS_OF_ERROR, Problem, ProblemBody
from stn_cluster.errors import UserError, first_error

log = logging.getLogger(__name__)

# Error responses of any request, for the OpenAPI page.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status.value: {"model": ProblemBody, "description": status.phrase}
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}


def document(page: dict[str, Any]) -> dict[str, Any]:
    """Sets the content type of all error responses in the OpenAPI page to JSON.

    FastAPI documents them with the content type of the route's success.
    """
    for operations in page["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= HTTPStatus.BAD_REQUEST:
                    [schema] = response["content"].values()
                    response["content"] = {"application/json": schema}
    return page


def error_response(status: HTTPStatus, message: str, field: str | None = None) -> JSONResponse:
    """Makes the response for an error."""
    code = status.name.lower()
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "2"
    body = ProblemBody(error=Problem(code=code, message=message, field=field))
    return JSONResponse(body.model_dump(), status, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Registers the exception handlers."""

    @app.exception_handler(UserError)
    async def _user(request: Request, error: UserError) -> JSONResponse:
        status = next(status for kind, status in STATUS_OF_ERROR if isinstance(error, kind))
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return error_response(status, str(error), error.field)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(HTTPStatus.UNPROCESSABLE_ENTITY, *_first(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        response = error_response(HTTPStatus(error.status_code), str(error.detail))
        response.headers.update(error.headers or {})  # such as Allow, for a wrong method
        return response

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        # The traceback is only in the server's log: clients must not see it.
        return error_response(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error; see the server's log"
        )


def _first(errors: Sequence[Any]) -> tuple[str, str | None]:
    """Message of the first error, and its field: 'config.recipe', or a parameter's name."""
    first, message = first_error(errors)
    field = ".".join(str(part) for part in first["loc"][1:])  # without 'body' or 'query'
    if first["type"] == "json_invalid":
        return "the body is not JSON", None
    return f"{field}: {message}" if field else message, field or None
