"""Nodes that cannot be reached at the moment: known within seconds, before Ray gives one up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from stn_cluster.cluster.placement import Node

REACH_SECONDS = 2.0  # timeout of a connection


class Reachability:
    """The nodes that could not be reached when they were last tried."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}  # of the first sign, by node; seconds, monotonic clock

    async def look(self, nodes: Iterable[Node], heard_at: dict[str, float]) -> None:
        """Tries to reach nodes whose workers are silent, and those that could not be reached, until
        they can or the cluster has given them up; forgets all others.

        Args:
            nodes: those of the cluster.
            heard_at: of each node to try, the time of the last sign of life.
        """
        began = heard_at | self.since
        tried = [node for node in nodes if node.node_id in began and node.alive]
        found = await asyncio.gather(*map(is_reachable, tried))
        away = {node.node_id for node, reachable in zip(tried, found, strict=True) if not reachable}
        self.since = {node: began[node] for node in sorted(away)}


async def is_reachable(node: Node) -> bool:
    """Whether Ray's process on a node can be connected to; one without an address is."""
    if not node.address:
        return True
    try:
        connecting = asyncio.open_connection(node.address, node.port)
        _, writer = await asyncio.wait_for(connecting, REACH_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
