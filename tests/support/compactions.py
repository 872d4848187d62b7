"""Compactions that stop half-way: in processes that die at a failpoint, or made by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.store import SCHEMAS, Kind, Store
from stn_cluster.store.current import REPLACES

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


def put_in_place(store: Store, replaced: Sequence[str], mark: str, kind: Kind = "cells") -> str:
    """Writes a compacted file for others, which stay; returns its name."""
    files = store._files
    tables = [pq.read_table(pa.BufferReader(files.read(f"{kind}/{name}"))) for name in replaced]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMAS[kind]) as writer:
        writer.write_table(pa.concat_tables(tables).cast(SCHEMAS[kind]))
        writer.add_key_value_metadata({REPLACES.decode(): json.dumps(list(replaced))})
    name = re.sub(r"(-c\w{8})?\.parquet$", f"-c{mark * 8}.parquet", replaced[0])
    files.write(f"{kind}/{name}", sink.getvalue().to_pybytes())
    return name
