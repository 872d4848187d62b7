"""Memory: whether the coordinator before this one was killed because memory was short.

Ray's memory monitor and the system both choose whom to kill. The coordinator comes last: its workers
can be restarted, as far as Ray knows (`worker_pool`), and are the likelier ones for the system.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

# Each may be missing: not on Linux, not in every container.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
_OWN_SCORE = Path("/proc/self/oom_score_adj")


def come_last() -> None:
    """Makes the system kill other processes of Ray first, for which Ray sets the highest score."""
    with suppress(OSError):
        _OWN_SCORE.write_text("0")


def count_kills() -> int:
    """Number of processes that the system has killed so far because memory was short."""
    return sum(_count(file) for file in _COUNTERS)


def _count(file: Path) -> int:
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def was_killed_by_ray(process: int) -> bool:
    """Whether Ray's memory monitor killed one of its processes; Ray must be connected.

    Ray tells it only through its dashboard, or to its own tools.
    """
    try:
        from ray._private.state import state
        from ray.core.generated import common_pb2, gcs_pb2

        rows = state._connect_and_get_accessor().get_worker_table()
        tables = [gcs_pb2.WorkerTableData.FromString(row) for row in rows]
    except Exception:  # another version of Ray
        return False
    reason = common_pb2.WorkerExitType.NODE_OUT_OF_MEMORY
    return any(table.pid == process and table.exit_type == reason for table in tables)
