"""CPU time of this process and all its descendants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import harness  # noqa: F401
from support.processes import descendants

LOOK_SECONDS = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc


class CpuMeter:
    """Counts from its making to `stop`.

    Ray's processes are waited for by nobody, so what they used is lost when they end: it is looked
    at now and then, and misses the last moments of those that end meanwhile.
    """

    def __init__(self) -> None:
        self._seen = dict(_used())
        self._before = sum(self._seen.values())
        self._stopped = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Seconds of CPU time."""
        self._stopped.set()
        self._thread.join()
        return (sum(self._seen.values()) - self._before) / _TICKS

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self._seen.update(_used())
        self._seen.update(_used())


def _used() -> Iterator[tuple[tuple[int, str], int]]:
    """Identity and ticks of user and system time of each process."""
    root = os.getpid()
    for pid in (root, *descendants(root)):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has just ended
            continue
        yield (pid, fields[19]), int(fields[11]) + int(fields[12])
