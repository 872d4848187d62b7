"""Compactions in processes of their own, which die at a failpoint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SERVER = """
import os, sys
from pathlib import Path
from stn_cluster import failpoints
from stn_cluster.store import Store, compaction
compaction.FEWEST_FILES = 3
for line in sys.stdin:
    uri, whole, point, count, marker = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        if point:
            failpoints._ARMED[point] = int(count), Path(marker)
        for _ in Store.open(uri).compact(whole == "True"):
            pass
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Compactor:
    """Compacts stores, each in a new process; three files are enough for one."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._started = 0

    def run(self, uri: str, whole: bool, point: str = "", count: int = 1) -> int:
        """Exit code of a compaction that is killed at a point when it comes there for the n-th
        time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._started += 1
        marker = self._folder / f"marker{self._started}"
        print(uri, whole, point, count, marker, sep="\t", file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@contextmanager
def compactor(folder: Path) -> Iterator[Compactor]:
    """A compactor, whose markers are in a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Compactor(process, folder)
        assert process.stdin is not None
        process.stdin.close()
