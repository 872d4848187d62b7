"""Removing from a store: rows of attempts, logs, checkpoints, records of jobs.

Rows go by the way of compaction: a file without them is put in the place of the one that has them,
so that readers see all other rows, and each once, at any moment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stn_cluster.failpoints import failpoint
from stn_cluster.grid import short_hash
from stn_cluster.store.compaction import remove_replaced
from stn_cluster.store.current import REPLACES, current_files, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.parquet import COMPRESSION, decode_all
from stn_cluster.store.scan import read_files
from stn_cluster.store.schema import SCHEMAS, Kind

# What belongs to attempts at cells. The row in `cells` goes last: whoever continues after a crash
# finds the attempt by it.
OF_ATTEMPTS: tuple[Kind, ...] = ("verifications", "evaluations", "curves", "predictions", "cells")


@dataclass(frozen=True)
class Removed:
    """Numbers of what was removed, or would be."""

    files: int = 0  # how many fewer there are
    bytes: int = 0
    rows: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.files + other.files, self.bytes + other.bytes, self.rows + other.rows)


@dataclass(frozen=True)
class AttemptFile:
    """A log, or a checkpoint."""

    name: str  # in the store
    bytes: int
    key: str  # of the cell, or the evaluation
    attempt: str


class FoundRows(NamedTuple):
    """A file that has rows of attempts that go."""

    kind: Kind
    name: str
    rows: int  # of these attempts
    whole: bool  # whether it has no others


class Remover:
    """Removes from a store, which its caller has locked.

    Every method raises StoreError if the disk or network fails, or a file cannot be read.

    Args:
        uri: path or URI of the store.
        dry_run: whether nothing is changed; what is said is the same.
    """

    def __init__(self, uri: str, dry_run: bool = False) -> None:
        self._files = Files.at(uri)
        self._dry_run = dry_run
        if not dry_run:  # what a file has replaced would count again once that file has gone
            for kind in SCHEMAS:
                for _ in remove_replaced(self._files, kind):
                    pass

    def logs(self) -> list[AttemptFile]:
        """All logs."""
        return [
            AttemptFile(name, size, key, log.removesuffix(".log"))
            for name, size, (key, log) in self._below("logs", 2)
        ]

    def checkpoints(self) -> list[AttemptFile]:
        """All checkpoints, final weights among them."""
        return [
            AttemptFile(name, size, key, attempt)
            for name, size, (key, attempt, _) in self._below("checkpoints", 3)
        ]

    def superseded(
        self, jobs: Collection[str], before: datetime | None, without: Collection[str]
    ) -> set[str]:
        """Attempts at cells that a newer success of the same key replaces.

        Args:
            jobs: ids of jobs: only attempts for these; empty: all.
            before: only those that were accepted before.
            without: keys of cells that are left alone.
        """
        columns = ["key", "attempt", "job_id", "status", "accepted_at"]
        rows = read_current(
            self._files, "cells", lambda names: read_files(self._files, "cells", names, columns)
        )
        if not rows:
            return set()
        frame = pa.concat_tables(rows).to_pandas()
        newest = frame[frame["status"] == "succeeded"].groupby("key")["accepted_at"].max()
        old = (frame["accepted_at"] < frame["key"].map(newest)) & ~frame["key"].isin(without)
        # Rows go by their attempt, which may have several: none goes while one of them stays.
        old &= ~frame["attempt"].isin(frame.loc[~old, "attempt"])
        if jobs:
            old &= frame["job_id"].isin(jobs)
        if before is not None:
            old &= frame["accepted_at"] < before
        return set(frame.loc[old, "attempt"])

    def remove(self, chosen: Iterable[AttemptFile]) -> Iterator[Removed]:
        """Removes logs and checkpoints, and the folders that are empty then; gives each file's
        numbers once it has gone."""
        found = list(chosen)
        for file in found:
            self._remove(file.name)
            yield Removed(1, file.bytes)
        if not self._dry_run:
            self._files.remove_empty({file.name.rpartition("/")[0] for file in found})

    def remove_jobs(self, job_ids: Collection[str]) -> Iterator[Removed]:
        """Removes the records of jobs; see `remove`."""
        sizes = self._files.sizes("jobs")
        for name in (f"jobs/{job_id}.json" for job_id in job_ids):
            if name in sizes:
                self._remove(name)
                yield Removed(1, sizes[name])

    def find_rows(self, attempts: Collection[str]) -> list[FoundRows]:
        """Files that have rows of attempts at cells, in the order in which these are to go; each
        file of these kinds is read once.

        Raises:
            StoreError: a file is torn, foreign or of a newer schema version.
        """
        found = []
        going = pa.array(sorted(attempts), pa.string())
        for kind in OF_ATTEMPTS:
            of_kind = []
            for name in current_files(self._files, kind):
                [index] = read_files(self._files, kind, [name], ["attempt"])
                if count := pc.sum(pc.is_in(index["attempt"], going)).as_py():
                    of_kind.append(FoundRows(kind, name, count, count == len(index)))
            # Those that no other one replaces first: that needs no room, and makes some.
            found += sorted(of_kind, key=lambda one: not one.whole)
        return found

    def remove_rows(
        self, found: Iterable[FoundRows], attempts: Collection[str]
    ) -> Iterator[tuple[Kind, Removed]]:
        """Removes the rows of attempts from files that `find_rows` has found; gives each file's
        numbers once they have gone.

        Raises:
            StoreError: a file cannot be read, or has columns of a newer version; or the disk or
                network failed.
        """
        going = pa.array(sorted(attempts), pa.string())
        sizes = {kind: self._files.sizes(kind) for kind in OF_ATTEMPTS}
        for kind, name, count, whole in found:
            kept = b"" if whole else self._without(kind, name, going)
            if kept and not self._dry_run:
                self._files.write(_name_without(name, attempts), kept, like=[name])
                failpoint("prune-replaced")
            self._remove(name)
            yield kind, Removed(0 if kept else 1, sizes[kind][name] - len(kept), count)

    def _without(self, kind: Kind, name: str, attempts: pa.Array) -> bytes:
        """Content of a file without the rows of some attempts, which replaces it."""
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, SCHEMAS[kind], compression=COMPRESSION) as writer:
            for rows in decode_all(kind, self._files.read(name), self._files.where(name)):
                writer.write_table(rows.filter(pc.invert(pc.is_in(rows["attempt"], attempts))))
            replaced = json.dumps([name.rpartition("/")[2]])
            writer.add_key_value_metadata({REPLACES.decode(): replaced})
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def _remove(self, name: str) -> None:
        if not self._dry_run:
            self._files.remove(name)
            failpoint("prune-removed")

    def _below(self, folder: str, depth: int) -> Iterator[tuple[str, int, list[str]]]:
        for name, size in self._files.sizes(folder).items():
            parts = name.split("/")[1:]
            if len(parts) == depth and self._files.is_inside(name):
                yield name, size, parts


def _name_without(name: str, attempts: Collection[str]) -> str:
    """Name of the file that replaces another one; it sorts where that does, as a compacted one."""
    mark = short_hash([name, sorted(attempts)], digits=8)
    return re.sub(r"(-c[0-9a-f]{8})?\.parquet$", f"-c{mark}.parquet", name)
