"""Routes of probes and of the service's version and store."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from stn_cluster import __version__
from stn_cluster.client.schemas import ServiceInfo
from stn_cluster.server.store_backend import StoreDep

router = APIRouter(tags=["service"])


@router.get("/health")
async def health() -> Literal["ok"]:
    """Checks that the server's process responds; needs no token."""
    return "ok"


@router.get("/ready")
def ready(backend: StoreDep) -> Literal["ok"]:
    """Checks that the coordinator responds, too; needs no token."""
    backend.check()
    return "ok"


@router.get("/service", dependencies=[Security(HTTPBearer(auto_error=False))])
def info(backend: StoreDep) -> ServiceInfo:
    """Version and store of the service."""
    return ServiceInfo(__version__, backend.store.name)
