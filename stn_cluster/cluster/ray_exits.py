"""Ray's records of how its processes ended, which it shows in its dashboard alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RayExit:
    """End of one of Ray's processes."""

    for_memory: bool  # whether Ray's memory monitor killed it
    text: str  # for people, one line


def exit_of(process: int, node: str | None = None) -> RayExit | None:
    """How a process ended; None if it lives, or if this version of Ray does not tell.

    Args:
        process: process id.
        node: Ray's id of its node; None: any.
    """
    try:
        own = [
            table
            for table in _tables()
            if table.pid == process and node in (None, table.worker_address.node_id.hex())
        ]
        if not own or any(table.is_alive for table in own):  # ids of processes are used again
            return None
        last = max(own, key=lambda table: table.end_time_ms)
        return _described(_for_memory(last), last.exit_detail)
    except Exception:  # private to Ray: another version may have it elsewhere, or not at all
        return None


def kills_for_memory(since: float) -> int:
    """Number of processes that Ray's memory monitor has killed since a time, in seconds since 1970;
    0 if this version of Ray does not tell."""
    try:
        return sum(_for_memory(table) and table.end_time_ms >= 1000 * since for table in _tables())
    except Exception:  # see above
        return 0


def restarts(actor: Any) -> int:
    """How often Ray has restarted an actor; 0 if this version of Ray does not tell."""
    try:
        from ray._private.state import actors

        return int(actors(actor._actor_id.hex())["NumRestarts"])
    except Exception:  # see above
        return 0


def _tables() -> list[Any]:
    """Ray's records of all its processes."""
    from ray._private.state import state
    from ray.core.generated import gcs_pb2

    rows = state._connect_and_get_accessor().get_worker_table()
    return [gcs_pb2.WorkerTableData.FromString(row) for row in rows]


def _for_memory(table: Any) -> bool:
    from ray.core.generated import common_pb2

    return bool(table.exit_type == common_pb2.WorkerExitType.NODE_OUT_OF_MEMORY)


def _described(for_memory: bool, detail: str) -> RayExit:
    if for_memory:
        used: Any = re.search(r"was ([\d.]+ ?\w+ used / [\d.]+ ?\w+) limit", detail)
        amount = f" ({used[1]})" if used else ""
        return RayExit(True, f"Ray's memory monitor killed it, as memory was short{amount}")
    reason = " ".join(detail.partition("Some common causes include")[0].split())
    return RayExit(False, f"its worker process has died: {reason}")
