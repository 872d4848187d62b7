"""Route of the service's metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.jobs import CellState, Metrics
from stn_cluster.server.backend import BackendDep

router = APIRouter(tags=["service"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(backend: BackendDep) -> PlainTextResponse:
    """Metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Service(backend.client.metrics()))
    # 0.0.4 is the version of the format; every Prometheus can read it.
    media = "text/plain; version=0.0.4"
    return PlainTextResponse(generate_latest(registry).decode(), media_type=media)


@dataclass(frozen=True, eq=False)  # eq=False keeps it hashable, for the registry
class _Service(Collector):
    metrics: Metrics

    def collect(self) -> Iterator[Metric]:
        """Yields the families of metrics."""
        totals = self.metrics.totals
        cells = GaugeMetricFamily("stn_cluster_cells", "Cells of all jobs.", labels=["state"])
        for state in CellState:
            cells.add_metric([state], totals.cells.get(state, 0))
        ended = CounterMetricFamily(
            "stn_cluster_attempts", "Attempts that ended, by how.", labels=["ending"]
        )
        for reason in ExitReason:
            ended.add_metric([reason], totals.attempts.get(reason, 0))
        yield from (cells, ended)
        yield SummaryMetricFamily(
            "stn_cluster_queue_wait_seconds",
            "From a job's submission until a cell is first tried.",
            totals.tried_cells,
            totals.waited_seconds,
        )
        yield CounterMetricFamily("stn_cluster_jobs", "Jobs submitted.", totals.jobs)
        for name, text, value in (
            ("workers", "Workers that have started.", self.metrics.workers),
            (
                "images_per_second",
                "Training images, over all workers.",
                self.metrics.images_per_second,
            ),
            ("in_trouble", "1 while the service is degraded.", self.metrics.degraded),
        ):
            yield GaugeMetricFamily(f"stn_cluster_{name}", text, value)
