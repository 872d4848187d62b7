"""Crews of workers that are plain values, for tests of who is hired and of how workers end."""

from __future__ import annotations

from typing import Any

from stn_cluster.cluster.placement import Node
from stn_cluster.cluster.protocol import WorkerInfo
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerPool
from stn_cluster.grid import Needs
from stn_cluster.queue import Demand

CORE, TWO_CORES, GPU, BIG = (
    Needs(num_cpus=1),
    Needs(num_cpus=2),
    Needs(num_gpus=1),
    Needs(num_cpus=1, resources={"big": 1}),
)
HERE = WorkerInfo("here", "cpu", "2.11", node="0")
MANY = 10**6


def make_crew(*nodes: dict[str, float], **service: Any) -> WorkerPool:
    crew = WorkerPool(Settings("store", "state", **service), coordinator=None)
    crew.nodes = [Node(str(number), True, resources) for number, resources in enumerate(nodes)]
    return crew


def add(
    crew: WorkerPool, needs: Needs, *, at: float = 0.0, begun: bool = True, busy: bool = False
) -> WorkerHandle:
    """A worker that was hired at some time."""
    name = f"worker-{len(crew.members)}"
    member = WorkerHandle(
        name, needs, actor=None, hired_at=at, info=HERE if begun else None, busy=busy
    )
    crew.members[name] = member
    return member


def wants(needs: Needs, cells: int = MANY, *, priority: int = 0, job: int = 1) -> Demand:
    return Demand(needs, cells, priority, job)
