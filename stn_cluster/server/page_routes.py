"""Routes of the page itself: its files, what it is of, and its session."""

from __future__ import annotations

import hmac
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import StringConstraints
from starlette.exceptions import HTTPException

import stn_cluster
from stn_cluster.grid import Frozen
from stn_cluster.server.session import LASTS, cookie_name, new_session
from stn_cluster.server.store_backend import StoreDep
from stn_cluster.server.tagged import tagged

FILES = Path(stn_cluster.__file__).parent / "page"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
files = APIRouter(include_in_schema=False)
router = APIRouter(tags=["page"])


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Content, tag and media type of each file of the page, by its name in addresses.

    All are read at once, so that nothing that is asked for is looked for, or remembered.
    """
    found = {}
    for path in FILES.rglob("*"):
        if path.suffix in _MEDIA and path.is_file():
            content = path.read_bytes()
            tag = f'"{sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(FILES).as_posix()] = content, tag, _MEDIA[path.suffix]
    return found


@files.get("/")
@files.get("/page/{name:path}")
def page_file(
    name: str = "index.html", if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A file of the page."""
    found = _files().get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    content, tag, media = found
    return tagged(content, media, tag, if_none_match)


@files.get("/v1/docs")
def documents() -> Response:
    """The page on the interface, which is made from /v1/openapi.json."""
    return RedirectResponse("/#/docs")


@router.get("/page")
def page(backend: StoreDep) -> dict[str, Any]:
    """What the page is of, and what it can do."""
    return {
        "version": stn_cluster.__version__,
        "store": backend.store.name,
        "mode": backend.mode,
        "read_only": backend.read_only,
        "jobs": backend.mode != "view",
        "job": backend.job_id,
        "draw": True,
        "data_root": backend.data_root is not None,
    }


class Token(Frozen):
    """The server's token."""

    token: Annotated[str, StringConstraints(max_length=1000)]


class SessionKey(Frozen):
    """A session's key; None if the server needs none."""

    key: str | None


@router.post("/session")
def begin_session(given: Token, request: Request, response: Response) -> SessionKey:
    """Trades the token for a cookie that a browser sends with every request, and a key for the
    header `STN-Cluster-Session` beside it."""
    token: str | None = request.app.state.token
    if token is None:  # there is nothing to prove
        return SessionKey(key=None)
    if not hmac.compare_digest(given.token.encode(), token.encode()):
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "this is not the server's token")
    session = new_session(token)
    response.set_cookie(
        cookie_name(request.scope["server"][1]),
        session.cookie,
        max_age=LASTS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    response.headers["Cache-Control"] = "no-store"
    return SessionKey(key=session.key)


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT, response_class=Response)
def end_session(request: Request) -> Response:
    """Takes the cookie away."""
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.delete_cookie(cookie_name(request.scope["server"][1]), path="/")
    return response
