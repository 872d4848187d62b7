"""Removing from a store: rows of attempts, logs, checkpoints, records of jobs.

Rows go by the way of compaction: a file without them is put in the place of the one that has them,
so that readers see all other rows, and each once, at any moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.failpoints import failpoint
from stn_cluster.store.compaction import finish_removals, replacement
from stn_cluster.store.current import current_files, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.scan import read_files
from stn_cluster.store.schema import Kind

# What belongs to attempts at cells. The row in `cells` goes last: whoever continues after a crash
# finds the attempt by it.
OF_ATTEMPTS: tuple[Kind, ...] = ("verifications", "evaluations", "curves", "predictions", "cells")


@dataclass(frozen=True)
class Removed:
    """What was removed, or would be."""

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
        if not dry_run:  # else what a file has replaced would count again once that has gone
            finish_removals(self._files)

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
        if jobs:
            old &= frame["job_id"].isin(jobs)
        if before is not None:
            old &= frame["accepted_at"] < before
        return set(frame.loc[old, "attempt"])

    def remove(self, chosen: Iterable[AttemptFile]) -> Removed:
        """Removes logs and checkpoints, and the folders that are empty then."""
        found = list(chosen)
        for file in found:
            self._remove(file.name)
        if not self._dry_run:
            self._files.remove_empty({file.name.rpartition("/")[0] for file in found})
        return Removed(len(found), sum(file.bytes for file in found))

    def remove_jobs(self, job_ids: Collection[str]) -> Removed:
        """Removes the records of jobs."""
        sizes = self._files.sizes("jobs")
        names = [name for name in (f"jobs/{job_id}.json" for job_id in job_ids) if name in sizes]
        for name in names:
            self._remove(name)
        return Removed(len(names), sum(sizes[name] for name in names))

    def remove_rows(self, attempts: Collection[str]) -> dict[Kind, Removed]:
        """Removes the rows of attempts at cells, of all kinds."""
        if not attempts:
            return {}
        values = pa.array(sorted(attempts), pa.string())
        return {kind: self._remove_rows(kind, values) for kind in OF_ATTEMPTS}

    def _remove_rows(self, kind: Kind, attempts: pa.Array) -> Removed:
        removed = Removed()
        sizes = self._files.sizes(kind)
        for name in current_files(self._files, kind):
            [index] = read_files(self._files, kind, [name], ["attempt"])
            goes = pc.is_in(index["attempt"], attempts)
            if not (count := pc.sum(goes).as_py()):
                continue
            if count == len(index):
                self._remove(name)
                removed += Removed(1, sizes[name], count)
                continue
            new, content = replacement(self._files, kind, [name], keep=pc.invert(goes))
            if not self._dry_run:
                self._files.write(new, content)
                failpoint("prune-replaced")
                self._remove(name)
            removed += Removed(0, sizes[name] - len(content), count)
        return removed

    def _remove(self, name: str) -> None:
        if not self._dry_run:
            self._files.remove(name)
            failpoint("prune-removed")

    def _below(self, folder: str, depth: int) -> Iterator[tuple[str, int, list[str]]]:
        for name, size in self._files.sizes(folder).items():
            parts = name.split("/")[1:]
            if len(parts) == depth:
                yield name, size, parts
