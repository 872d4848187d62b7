"""Memory: how often the system has killed processes because it was short, and whom it takes last.

Ray's memory monitor chooses before the system does: see `worker_pool`.
"""

from __future__ import annotations

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
