"""Which nodes there are, and which workers they could hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stn_cluster.cluster.settings import Settings
from stn_cluster.grid import Needs


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    node_id: str
    alive: bool
    resources: Mapping[str, float]  # in all, used or not


def parse_nodes(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    """`ray.nodes()` as values."""
    return [Node(row["NodeID"], row["Alive"], row.get("Resources") or {}) for row in rows]


def worker_options(needs: Needs, settings: Settings) -> dict[str, Any]:
    """What a worker for such cells is asked of Ray with."""
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


def required(options: Mapping[str, Any]) -> dict[str, float]:
    """The same as amounts of a node's resources."""
    amounts = {"CPU": options["num_cpus"], "GPU": options["num_gpus"]}
    if "accelerator_type" in options:
        amounts[f"accelerator_type:{options['accelerator_type']}"] = 0.001  # as Ray counts it
    amounts |= options.get("resources", {})
    return {name: amount for name, amount in amounts.items() if amount}


def slots(needed: Mapping[str, float], nodes: Sequence[Node]) -> int:
    """How many such workers the nodes could hold if they held nothing else; at least 0."""
    return sum(
        int(
            1e-6  # 0.6 / 0.2 is a little less than 3
            + min(
                (node.resources.get(name, 0) / amount for name, amount in needed.items()), default=1
            )
        )
        for node in nodes
        if node.alive
    )


def described(needed: Mapping[str, float]) -> str:
    """'1 GPU, accelerator_type:H100, 2 big': as people say it."""
    return ", ".join(
        name if name.startswith("accelerator_type:") else f"{amount:g} {name}"
        for name, amount in needed.items()
    )
