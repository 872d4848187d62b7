"""Rows of `cells` that somebody asks for: found by few columns of all, then read where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.errors import StoreError
from stn_cluster.store.current import is_gone, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.frames import columns_of, frame_of
from stn_cluster.store.names import with_present_names
from stn_cluster.store.row_filters import stored_matches, used_filters
from stn_cluster.store.row_order import TABLE_ORDER, newest_of, order_of, times
from stn_cluster.store.scan import (
    are_small,
    in_turn,
    joined,
    needed_for,
    read_files,
    read_matching,
    read_rows,
    readers,
)
from stn_cluster.store.schema import CELLS

# Filters by what a key determines: all rows of a key have the same.
_OF_THE_KEY = {"dataset", "model", "transform", "seed", "key"}
_LARGE = {"spec", "confusion", "error"}  # columns that take much memory
_NAMED = 32_768  # rows whose names are looked up at once
_OF_NEWEST = ("key", "status", "accepted_at")


@dataclass(frozen=True, eq=False)
class Places:
    """Places of rows, in the order of the files."""

    names: Sequence[str]  # of files
    file: NDArray[np.intp]  # of each row, as a place in `names`
    row: NDArray[np.intp]  # of each row, within its file

    def read(self, files: Files, columns: Sequence[str]) -> pa.Table:
        """The rows as they are stored.

        Raises:
            StoreError: a file cannot be read, or is not there any more.
        """

        def read(number: int) -> pa.Table:
            return joined(self._read(files, number, columns), columns)

        return joined(in_turn(read, self._used(), readers(files)), columns)

    def parts(self, files: Files, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows as they are stored, some thousands at a time.

        Raises:
            StoreError: see `read`.
        """
        for number in self._used():
            yield from self._read(files, number, columns)

    def _used(self) -> list[int]:
        used: list[int] = np.unique(self.file).tolist()
        return used

    def _read(self, files: Files, number: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        begin, end = self.file.searchsorted([number, number + 1])
        return read_rows(files, self.names[number], self.row[begin:end], columns)


def find(files: Files, names: Sequence[str], filters: Mapping[str, Any], latest: bool) -> Places:
    """Finds the rows in files of `cells` that match all filters.

    Args:
        files: of the store.
        names: the current files of `cells`.
        filters: see `load_results`.
        latest: only the newest succeeded row of each key, or its newest failed one, if that one
            matches.

    Raises:
        UserError: there is no such filter.
        StoreError: a file is torn, foreign or of a newer schema version.
    """
    return _dated(files, names, used_filters(filters), latest)[0]


def _chosen(rows: pa.Table, used: Mapping[str, list[Any]], latest: bool) -> NDArray[np.intp]:
    """Numbers of the rows that match, in increasing order."""
    chosen = np.flatnonzero(_may_count(rows, used, latest))
    if latest:
        chosen = chosen[newest_of(rows.select(list(_OF_NEWEST)).take(chosen))]
    if latest and used:
        chosen = chosen[stored_matches(rows.select(list(used)).take(chosen), used)]
    return np.sort(chosen)


def _may_count(rows: pa.Table, used: Mapping[str, list[Any]], latest: bool) -> NDArray[np.bool_]:
    """Whether each row matches, or, if the newest count, is of the key of one that does."""
    found = stored_matches(rows, used)
    if not latest or used.keys() <= _OF_THE_KEY:
        return found
    keys = rows["key"]
    related: NDArray[np.bool_] = pc.is_in(keys, pc.unique(keys.filter(found))).to_numpy()
    return related


def results(
    files: Files, filters: Mapping[str, Any], latest: bool, columns: Sequence[str] | None
) -> pd.DataFrame:
    """See `Store.results`."""
    wanted = list(columns or CELLS.names)
    used = used_filters(filters)
    rows, chosen = read_current(
        files, "cells", lambda names: _rows(files, names, used, latest, wanted)
    )
    names = rows.select([*TABLE_ORDER, "status"])
    order = chosen[order_of(names if len(chosen) == len(rows) else names.take(chosen), latest)]
    left = columns_of(rows.select(wanted))
    del rows, names
    return frame_of(left, order)


def _rows(
    files: Files,
    names: Sequence[str],
    used: Mapping[str, list[Any]],
    latest: bool,
    columns: Sequence[str],
) -> tuple[pa.Table, NDArray[np.intp]]:
    """Rows in the order of the files, with these columns and those of the order; and the numbers of
    those that match."""
    needed = list(dict.fromkeys([*columns, *TABLE_ORDER, *_OF_NEWEST, *used]))
    if _LARGE.isdisjoint(columns) or are_small(files, "cells", names):
        rows = joined(read_files(files, "cells", names, needed), needed)
    elif used.keys() <= _OF_THE_KEY:
        rows = _named(files, read_matching(files, names, used, needed_for(needed)))
    else:
        found = _that_may_count(files, names, used, latest)
        rows = _named(files, found.read(files, needed_for(needed)))
    return rows, _chosen(rows, used, latest)


def _that_may_count(
    files: Files, names: Sequence[str], used: Mapping[str, list[Any]], latest: bool
) -> Places:
    """See `_may_count`."""
    columns = list(dict.fromkeys([*used, *(["key"] if latest else [])]))
    parts = read_files(files, "cells", names, columns)
    rows = joined(parts, columns)
    return _places(names, parts, np.flatnonzero(_may_count(rows, used, latest)))


def _named(files: Files, rows: pa.Table) -> pa.Table:
    """Many rows with present names; see `with_present_names`."""
    parts = (rows.slice(begin, _NAMED) for begin in range(0, len(rows), _NAMED))
    return joined(in_turn(with_present_names, parts, readers(files)), rows.schema.names)


def scan(files: Files, filters: Mapping[str, Any], latest: bool) -> Iterator[pa.Table]:
    """See `Store.scan`."""
    used = used_filters(filters)
    places, accepted = read_current(files, "cells", lambda n: _dated(files, n, used, latest))
    return _scanned(files, places, accepted)


def _scanned(files: Files, places: Places, accepted: NDArray[np.datetime64]) -> Iterator[pa.Table]:
    done = 0
    try:
        for table in places.parts(files, CELLS.names):
            yield with_present_names(table)
            done += len(table)
    except StoreError as error:
        if not is_gone(error):
            raise
        # A file was replaced meanwhile. The times of acceptance tell rows apart.
        left = accepted[done:]
        yield from _scanned(files, *read_current(files, "cells", lambda n: _at(files, n, left)))


def _dated(
    files: Files, names: Sequence[str], used: Mapping[str, list[Any]], latest: bool
) -> tuple[Places, NDArray[np.datetime64]]:
    """See `find`; with the rows' times of acceptance."""
    columns = list(dict.fromkeys([*used, *(_OF_NEWEST if latest else ("accepted_at",))]))
    parts = read_files(files, "cells", names, columns)
    rows = joined(parts, columns)
    chosen = _chosen(rows, used, latest)
    return _places(names, parts, chosen), times(rows["accepted_at"])[chosen]


def _at(
    files: Files, names: Sequence[str], accepted: NDArray[np.datetime64]
) -> tuple[Places, NDArray[np.datetime64]]:
    """Places of the rows with these times of acceptance, and the times."""
    parts = read_files(files, "cells", names, ["accepted_at"])
    there = times(joined(parts, ["accepted_at"])["accepted_at"])
    chosen = np.flatnonzero(np.isin(there, accepted))
    return _places(names, parts, chosen), there[chosen]


def _places(names: Sequence[str], parts: Sequence[pa.Table], chosen: NDArray[np.intp]) -> Places:
    """Places of rows by their numbers among those of all files, which are the parts."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    file = starts.searchsorted(chosen, side="right") - 1
    return Places(names, file, chosen - starts[file])
