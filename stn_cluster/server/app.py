"""The FastAPI application: routes, error responses and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.middleware.gzip import GZipMiddleware

from stn_cluster import __version__
from stn_cluster.server import (
    cell_routes,
    draw_routes,
    error_responses,
    health_routes,
    matrix_routes,
    page_routes,
    result_routes,
)
from stn_cluster.server.request_limits import RequestLimits
from stn_cluster.server.request_log import RequestLog
from stn_cluster.server.security import SecurityMiddleware
from stn_cluster.server.store_backend import StoreBackend

THREADS = 200  # requests (and watchers) that may wait for the coordinator or the disk at a time

# Only documents the token for OpenAPI; SecurityMiddleware checks it.
_BEARER = HTTPBearer(auto_error=False, description="Required if the server has a token.")


@asynccontextmanager
async def _with_threads(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


def create_app(
    backend: StoreBackend,
    token: str | None = None,
    loopback: bool = True,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Creates the application of a server.

    Args:
        backend: backend of the routes.
        token: see `SecurityMiddleware`.
        loopback: see `SecurityMiddleware`.
        routers: routes of a service, beside those that a store alone has.
    """
    app = FastAPI(
        lifespan=_with_threads,
        title="stn-cluster",
        summary="How a vision model stands up to geometric distortion, as a batch service.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to whatever the request calls this host
        openapi_url="/v1/openapi.json",
        responses=error_responses.ERROR_RESPONSES,
    )
    app.state.backend = backend
    app.state.token = token
    error_responses.add_handlers(app)
    app.include_router(health_routes.router, prefix="/v1")
    secured = [Security(_BEARER)]
    own = (cell_routes, result_routes, matrix_routes, draw_routes, page_routes)
    for router in (*(module.router for module in own), *routers):
        app.include_router(router, prefix="/v1", dependencies=secured)
    app.include_router(page_routes.files)
    page = error_responses.document(app.openapi())
    app.openapi = lambda: page  # type: ignore[method-assign]
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    app.add_middleware(SecurityMiddleware, token=token, loopback=loopback)
    app.add_middleware(
        RequestLimits, token=token
    )  # also of requests whose bodies have not come yet
    app.add_middleware(RequestLog)  # outermost, so that refused requests are logged, too
    return app
