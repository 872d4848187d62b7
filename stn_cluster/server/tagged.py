"""Answers with a tag, which browsers and clients keep and ask about."""

from __future__ import annotations

from http import HTTPStatus

from fastapi.responses import Response


def tagged(content: bytes, media_type: str, tag: str, known: str | None) -> Response:
    """An answer, or 304 for whoever has it already.

    Args:
        content: the answer's body.
        media_type: its type.
        tag: text in quotes that changes whenever the body does.
        known: tag of the answer that the client has: its header If-None-Match.
    """
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if known == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
