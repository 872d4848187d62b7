"""Placement: which workers to start, which to release, and how large a pack is.

Pure functions of the queued cells, the workers, the nodes and the settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from stn_cluster.cluster.settings import Settings
from stn_cluster.evaluations import Evaluation, WorkItem
from stn_cluster.grid import Needs
from stn_cluster.queue.claim import Demand

PENDING_SECONDS = 5.0  # a worker that starts for longer waits for others to release resources
WORKER_BYTES = 0.5e9  # memory of a worker that has loaded PyTorch, at least
UNPLACED_SECONDS = 60.0  # without room for a worker, and people are told

PACKS_A_WORKER = 2  # at least, if there are enough cells: short packs at the end balance the load
GPU_PACK = 16  # cells; each is a branch of one graph, and small cells fill a GPU only together
# On a CPU, a pack only shares the distortion of images. That is a large part of a small cell's
# step but a small part of a large one's, and large packs balance the load worse.
CPU_PACK, SMALL_CPU_PACK = 4, 8
# Evaluations of a pack share networks and distorted images, and the networks are in memory at once.
EVALUATION_PACK = 40
SMALL = 5.0  # relative cost per training image; fully connected cells are below it


class WorkerState(Enum):
    """State of a worker."""

    STARTING = "starting"  # requested from Ray; it may wait for a node
    IDLE = "idle"
    BUSY = "busy"  # training a pack


class PlacedWorker(Protocol):
    """The attributes of a worker that placement uses."""

    needs: Needs
    state: WorkerState
    requested_at: float  # seconds on the monotonic clock
    heard_at: float  # of its last sign of life; 0 before the first


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    node_id: str
    alive: bool
    resources: Mapping[str, float]  # total amounts, used or not
    address: str = ""  # of Ray's process on it
    port: int = 0


@dataclass(frozen=True)
class Plan:
    """Decision of `plan_workers`."""

    start: tuple[Needs, ...] = ()  # start one worker for each
    starved: Needs | None = None  # most urgent needs with queued cells but without a worker
    full: bool = False  # whether the limit of workers is reached


def plan_workers(
    demand: Sequence[Demand],
    workers: Sequence[PlacedWorker],
    nodes: Sequence[Node],
    settings: Settings,
    now: float,
) -> Plan:
    """Decides which workers to start, and which needs are starved.

    Args:
        demand: queued cells, the most urgent first.
        workers: workers that run or were requested.
        nodes: nodes of the cluster.
        settings: settings of the service; `workers` limits the workers that present nodes can hold.
        now: seconds on the monotonic clock.
    """
    start: list[Needs] = []
    starved: Needs | None = None
    limit = settings.workers
    # Only workers that some node can hold: the others just request nodes from an autoscaler.
    present = sum(slots(required(w.needs, settings), nodes) > 0 for w in workers)
    for pool in demand:
        same = [w for w in workers if w.needs == pool.needs]
        if not slots(required(pool.needs, settings), nodes):
            start += (
                [] if same else [pool.needs]
            )  # while pending, it makes an autoscaler add a node
            continue
        room = max(0, capacity(pool.needs, nodes, settings) - len(same))
        if limit is not None:
            room = min(room, max(0, limit - present))
        if _blocks(pool.needs, starved, False, settings):
            room = 0  # they would have to be released at once for the starved needs
        free = sum(w.state is not WorkerState.BUSY for w in same)
        more = min(room, max(0, pool.cells - free))
        present += more
        start += [pool.needs] * more
        # One whose process runs has its place, however long its imports take.
        late = any(
            w.state is WorkerState.STARTING
            and not w.heard_at
            and now - w.requested_at > PENDING_SECONDS
            for w in same
        )
        started = any(w.state is not WorkerState.STARTING for w in same)
        if starved is None and not started and not more and (late or not same):
            starved = pool.needs
    return Plan(tuple(start), starved, full=limit is not None and present >= limit)


def should_release(needs: Needs, plan: Plan, demand: Sequence[Demand], settings: Settings) -> bool:
    """Whether a worker between two packs should be stopped for the sake of the starved needs.

    Args:
        needs: needs of the worker.
        plan: the newest plan.
        demand: queued cells now, the most urgent first.
        settings: settings of the service.
    """
    if plan.starved is None or not _blocks(needs, plan.starved, plan.full, settings):
        return False
    order = [pool.needs for pool in demand]
    if plan.starved not in order:  # its cells have left the queue since the plan was made
        return False
    if needs not in order:
        return True
    return order.index(plan.starved) < order.index(needs)


def _blocks(needs: Needs, starved: Needs | None, full: bool, settings: Settings) -> bool:
    """Whether workers with these needs hold resources that the starved needs wait for."""
    if starved is None or starved == needs:
        return False
    held, wanted = required(needs, settings), required(starved, settings)
    return full or not held.keys().isdisjoint(wanted)


# --- resources ---


def parse_nodes(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Converts the result of `ray.nodes()`."""
    return [
        Node(
            row["NodeID"],
            row["Alive"],
            row.get("Resources") or {},
            row.get("NodeManagerAddress") or "",
            row.get("NodeManagerPort") or 0,
        )
        for row in rows
    ]


def worker_options(needs: Needs, settings: Settings) -> dict[str, Any]:
    """Options of the Ray actor of a worker with these needs."""
    gpus = needs.num_gpus
    if gpus is None:
        gpus = 1 if settings.gpu or needs.accelerator_type else 0
    cpus = needs.num_cpus
    if cpus is None:
        cpus = 0 if gpus else settings.threads_per_worker
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
    if needs.accelerator_type:
        options["accelerator_type"] = needs.accelerator_type
    if needs.resources:
        options["resources"] = dict(needs.resources)
    return options


def required(needs: Needs, settings: Settings) -> dict[str, float]:
    """Amounts of a node's resources that a worker with these needs takes."""
    options = worker_options(needs, settings)
    amounts = {"CPU": options["num_cpus"], "GPU": options["num_gpus"]}
    if "accelerator_type" in options:
        amounts[f"accelerator_type:{options['accelerator_type']}"] = 0.001  # Ray's own amount
    amounts |= options.get("resources", {})
    return {name: amount for name, amount in amounts.items() if amount}


def slots(needed: Mapping[str, float], nodes: Sequence[Node]) -> int:
    """Number of workers with these resources that the nodes could hold if they were empty.

    Their memory is a bound of its own, whatever they ask for: at least one fits.
    """
    found = 0
    for node in nodes:
        if node.alive:
            amounts = (node.resources.get(name, 0) / amount for name, amount in needed.items())
            fit = int(1e-6 + min(amounts, default=1))  # 0.6 / 0.2 is a little less than 3
            memory = node.resources.get("memory", math.inf) / WORKER_BYTES
            found += min(fit, max(1, int(min(memory, fit))))
    return found


def capacity(needs: Needs, nodes: Sequence[Node], settings: Settings) -> int:
    """Maximum number of workers with these needs, at least 1."""
    room = slots(required(needs, settings), nodes)
    return max(1, room if settings.workers is None else min(room, settings.workers))


def unsatisfiable(
    demand: Sequence[Demand], nodes: Sequence[Node], settings: Settings
) -> tuple[str, ...]:
    """Sentences for people about queued cells that no present node can hold."""
    missing = []
    for pool in demand:
        needed = required(pool.needs, settings)
        if not slots(needed, nodes):
            missing.append(f"{_waiting(pool)} for a node with {described(needed)}")
    return tuple(missing)


def unplaced(
    demand: Sequence[Demand],
    workers: Iterable[PlacedWorker],
    nodes: Sequence[Node],
    settings: Settings,
    now: float,
) -> tuple[str, ...]:
    """Sentences for people about queued cells whose workers have found no room for a while, though
    present nodes could hold them: others have taken it.

    Args:
        demand, workers, nodes, settings, now: see `plan_workers`.
    """
    asked = [w for w in workers if now - w.requested_at > UNPLACED_SECONDS]
    crowded = []
    for pool in demand:
        needed = required(pool.needs, settings)
        same = [w for w in asked if w.needs == pool.needs]
        if same and slots(needed, nodes) and not any(w.heard_at for w in same):
            crowded.append(f"{_waiting(pool)} until there is room for {described(needed)}")
    return tuple(crowded)


def _waiting(pool: Demand) -> str:
    return f"{pool.cells} cell{'s wait' if pool.cells > 1 else ' waits'}"


def described(needed: Mapping[str, float]) -> str:
    """Resources for people: '1 GPU, accelerator_type:H100, 2 big'."""
    return ", ".join(
        name if name.startswith("accelerator_type:") else f"{amount:g} {name}"
        for name, amount in needed.items()
    )


# --- packs ---


def pack_size(first: WorkItem, queued: int, needs: Needs, workers: int, settings: Settings) -> int:
    """Number of cells that a worker gets at once, at least 1.

    Args:
        first: the pack's first and costliest cell.
        queued: number of queued cells with these needs.
        needs: needs of the worker.
        workers: number of workers to keep busy, at least 1.
        settings: settings of the service.
    """
    gpu = bool(worker_options(needs, settings)["num_gpus"])
    most = settings.cells_per_pack or largest_pack(first, gpu)
    return min(fair_share(queued, workers), most)


def largest_pack(cell: WorkItem, gpu: bool) -> int:
    """Largest efficient pack, from the device and the pack's costliest cell."""
    if isinstance(cell, Evaluation):
        return EVALUATION_PACK
    if gpu:
        return GPU_PACK
    images = max(1, cell.iterations * cell.batch_size)  # of one that is only evaluated, none
    return SMALL_CPU_PACK if cell.cost / images < SMALL else CPU_PACK


def fair_share(queued: int, workers: int) -> int:
    """Number of cells that a worker may get at once without leaving others idle, at least 1.

    Args:
        queued: number of queued cells.
        workers: number of workers to keep busy, at least 1.
    """
    if workers == 1:
        return max(1, queued)
    return max(1, queued // (PACKS_A_WORKER * workers))
