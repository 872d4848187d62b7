"""The routes that only a service has, beside those of its store."""

from __future__ import annotations

from stn_cluster.server import (
    attempt_routes,
    event_routes,
    job_routes,
    metrics_routes,
    plan_routes,
    submit_routes,
)

WATCHING = (
    job_routes.router,
    event_routes.router,
    attempt_routes.router,
    metrics_routes.router,
)
SERVICE = (*WATCHING, submit_routes.router, plan_routes.router)
