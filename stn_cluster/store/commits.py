"""Commits: rows that become part of a store together, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.errors import StoreError
from stn_cluster.failpoints import failpoint
from stn_cluster.store.files import Files
from stn_cluster.store.record import (
    Record,
    files_of_evaluations,
    files_of_test_sets,
    to_files,
)
from stn_cluster.store.schema import Kind

R = TypeVar("R")


@dataclass
class Commits:
    """The writer of a store's results, with what it knows of the rows that are there."""

    files: Files
    read: Callable[[Kind, Sequence[str]], pa.Table]  # named columns of all rows of a kind
    _last_accepted: datetime | None = field(default=None, init=False)  # None: not read yet
    _test_sets: set[str] | None = field(default=None, init=False)  # stored; None: not read yet

    def add(
        self, records: Sequence[Record], test_sets: Sequence[Mapping[str, Any]]
    ) -> list[datetime]:
        """See `Store.commit`."""
        return self._add(records, to_files, test_sets)

    def add_evaluations(
        self, rows: Sequence[Mapping[str, Any]], test_sets: Sequence[Mapping[str, Any]]
    ) -> list[datetime]:
        """See `Store.commit_evaluations`."""
        return self._add(rows, files_of_evaluations, test_sets)

    def _add(
        self,
        rows: Sequence[R],
        files_of: Callable[[Sequence[R], Sequence[datetime]], Mapping[str, bytes]],
        test_sets: Sequence[Mapping[str, Any]],
    ) -> list[datetime]:
        if not rows:
            return []
        times = self._next_accepted(len(rows))
        self._write_rows(files_of(rows, times), test_sets, times)
        return times

    def _next_accepted(self, count: int) -> list[datetime]:
        """Strictly increasing times from now on, or just after the newest row if the clock was set
        back."""
        if self._last_accepted is None:
            kinds: tuple[Kind, ...] = ("cells", "evaluations")
            newest = [pc.max(self.read(k, ["accepted_at"])["accepted_at"]).as_py() for k in kinds]
            self._last_accepted = max((time for time in newest if time), default=None)
        first = datetime.now(UTC)
        if self._last_accepted is not None:
            first = max(first, self._last_accepted + timedelta(microseconds=1))
        return [first + timedelta(microseconds=index) for index in range(count)]

    def _write_rows(
        self,
        files: Mapping[str, bytes],
        test_sets: Sequence[Mapping[str, Any]],
        times: Sequence[datetime],
    ) -> None:
        """Writes files of rows, after those of new test sets."""
        if self._test_sets is None:
            known = self.read("test_sets", ["test_set"])["test_set"]
            self._test_sets = set(known.to_pylist())
        new = {row["test_set"]: row for row in test_sets if row["test_set"] not in self._test_sets}
        self._write_all({**files_of_test_sets(list(new.values())), **files})
        self._test_sets |= set(new)
        self._last_accepted = times[-1]

    def _write_all(self, contents: Mapping[str, bytes]) -> None:
        """Writes files in order; if one fails, removes those before it."""
        tried: list[str] = []
        try:
            for name, content in contents.items():
                tried.append(name)
                self.files.write(name, content)
                failpoint(f"{name.partition('/')[0]}-written")
        except StoreError:
            # Otherwise a retry of the commit would store an attempt's predictions twice.
            for name in reversed(tried):
                with suppress(StoreError):
                    self.files.remove(name)
            raise
