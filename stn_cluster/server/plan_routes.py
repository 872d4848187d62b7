"""Route that says what a config would take, before it is submitted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import StringConstraints

from stn_cluster.grid import Frozen
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["jobs"])
PLAN_SECONDS = 120.0  # with a calibration of every model


class PlanRequest(Frozen):
    """A config to plan."""

    yaml: Annotated[str, StringConstraints(max_length=1_000_000)]


@router.post("/plan", response_class=Response)
def plan(request: PlanRequest, backend: BackendDep) -> Any:
    """What `plan` says of a config on this machine, and the config as JSON, for a submission.

    Times are of this store's history, or of a short calibration.
    """
    fields = {"yaml": request.yaml, "workers": None}
    content = backend.drawings.ask("plan", fields, PLAN_SECONDS)
    return Response(content, media_type="application/json")
