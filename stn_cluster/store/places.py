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
from stn_cluster.store.frames import (
    TABLE_ORDER,
    as_frame,
    frame_of,
    matches,
    newest_rows,
    table_order,
    used_filters,
)
from stn_cluster.store.names import with_present_names
from stn_cluster.store.scan import (
    are_small,
    in_turn,
    joined,
    needed_for,
    read_files,
    read_rows,
    readers,
)
from stn_cluster.store.schema import CELLS

# Filters by what a key determines: all rows of a key have the same.
_OF_THE_KEY = ("dataset", "model", "transform", "seed", "key")
_LARGE = {"spec", "confusion", "error"}  # columns that take much memory
_FEW = 10_000  # rows that need not be put in order column by column, to save memory
_TAKEN = 16_384  # values that are put in order at once
_NAMED = 32_768  # rows whose names are looked up at once
_OF_NEWEST = ("key", "status", "accepted_at")


@dataclass(frozen=True, eq=False)
class Places:
    """Places of rows, in the order of the files."""

    names: Sequence[str]  # of files
    file: NDArray[np.intp]  # of each row, as a place in `names`
    row: NDArray[np.intp]  # of each row, within its file
    accepted_at: NDArray[np.datetime64]  # of each row: which row it is, whatever file it is in

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
    used = used_filters(filters)
    columns = list(dict.fromkeys([*used, *(_OF_NEWEST if latest else ("accepted_at",))]))
    parts = read_files(files, "cells", names, columns)
    rows = joined(parts, columns)
    return _places(names, parts, rows, _chosen(rows, used, latest))


def _chosen(rows: pa.Table, used: Mapping[str, list[Any]], latest: bool) -> NDArray[np.intp]:
    """Numbers of the rows that match, in increasing order."""
    chosen = np.arange(len(rows))
    if latest:
        of_the_key = {name: values for name, values in used.items() if name in _OF_THE_KEY}
        if of_the_key:
            chosen = np.flatnonzero(_matches(rows, of_the_key))
        chosen = chosen[_newest(rows.select(list(_OF_NEWEST)).take(chosen))]
    if used:
        chosen = chosen[_matches(rows.select(list(used)).take(chosen), used)]
    return np.sort(chosen)


def results(
    files: Files, filters: Mapping[str, Any], latest: bool, columns: Sequence[str] | None
) -> pd.DataFrame:
    """See `Store.results`."""
    wanted = list(columns or CELLS.names)
    rows, chosen = read_current(
        files, "cells", lambda names: _rows(files, names, filters, latest, wanted)
    )
    names = rows.select([*TABLE_ORDER, "status"])
    order = chosen[order_of(names if len(chosen) == len(rows) else names.take(chosen), latest)]
    if len(order) <= _FEW:
        return as_frame(rows.select(wanted).take(order))
    left = dict(zip(rows.schema.names, rows.columns, strict=True))
    del rows
    return frame_of((name, _taken(left.pop(name), order)) for name in wanted)


def _rows(
    files: Files,
    names: Sequence[str],
    filters: Mapping[str, Any],
    latest: bool,
    columns: Sequence[str],
) -> tuple[pa.Table, NDArray[np.intp]]:
    """Rows in the order of the files, with these columns and those of the order; and the numbers of
    those that match."""
    needed = list(dict.fromkeys([*columns, *TABLE_ORDER, *_OF_NEWEST]))
    used = used_filters(filters)
    if _LARGE.isdisjoint(columns) or are_small(files, "cells", names):  # then they are read at once
        all_needed = list(dict.fromkeys([*needed, *used]))
        rows = joined(read_files(files, "cells", names, all_needed), all_needed)
        return rows, _chosen(rows, used, latest)
    # Of filters that all rows of a key match, or none, the newest can be found among those read.
    later = latest and bool(used) and set(used) <= set(_OF_THE_KEY)
    found = find(files, names, filters, latest and not later)
    rows = _named(files, found.read(files, needed_for(needed)))
    return rows, np.sort(_newest(rows)) if later else np.arange(len(rows))


def _named(files: Files, rows: pa.Table) -> pa.Table:
    """Many rows with present names; see `with_present_names`."""
    parts = (rows.slice(begin, _NAMED) for begin in range(0, len(rows), _NAMED))
    return joined(in_turn(with_present_names, parts, readers(files)), rows.schema.names)


def scan(files: Files, filters: Mapping[str, Any], latest: bool) -> Iterator[pa.Table]:
    """See `Store.scan`."""
    places = read_current(files, "cells", lambda names: find(files, names, filters, latest))
    return _scanned(files, places)


def _scanned(files: Files, places: Places) -> Iterator[pa.Table]:
    done = 0
    try:
        for table in places.parts(files, CELLS.names):
            yield with_present_names(table)
            done += len(table)
    except StoreError as error:
        if not is_gone(error):
            raise
        # A file was replaced meanwhile. The times of acceptance tell rows apart.
        left = places.accepted_at[done:]
        yield from _scanned(files, read_current(files, "cells", lambda n: _at(files, n, left)))


def _at(files: Files, names: Sequence[str], times: NDArray[np.datetime64]) -> Places:
    """Places of the rows with these times of acceptance."""
    columns = ["accepted_at"]
    parts = read_files(files, "cells", names, columns)
    rows = joined(parts, columns)
    return _places(names, parts, rows, np.flatnonzero(np.isin(_times(rows), times)))


def _places(
    names: Sequence[str], parts: Sequence[pa.Table], rows: pa.Table, chosen: NDArray[np.intp]
) -> Places:
    """Places of rows by their numbers among those of all files, which are the parts."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    file = starts.searchsorted(chosen, side="right") - 1
    return Places(names, file, chosen - starts[file], _times(rows)[chosen])


def _times(rows: pa.Table) -> NDArray[np.datetime64]:
    times: NDArray[np.datetime64] = rows["accepted_at"].cast(pa.timestamp("us")).to_numpy()
    return times


def _newest(rows: pa.Table) -> NDArray[np.intp]:
    keys = rows["key"].combine_chunks().dictionary_encode(null_encoding="encode")
    return newest_rows(keys.indices.to_numpy(), _succeeded(rows), _times(rows))


def _succeeded(rows: pa.Table) -> NDArray[np.bool_]:
    succeeded: NDArray[np.bool_] = pc.equal(rows["status"], "succeeded").fill_null(False).to_numpy()
    return succeeded


def _matches(rows: pa.Table, used: Mapping[str, list[Any]]) -> NDArray[np.bool_]:
    return matches(rows.select(list(used)).to_pandas(), used)


def order_of(rows: pa.Table, latest: bool) -> NDArray[np.intp]:
    """The table's order. Of current rows that are equal in it, those that failed come first."""
    frame = rows.select(list(TABLE_ORDER)).to_pandas()
    if not latest:
        return table_order(frame)
    before = np.argsort(_succeeded(rows), kind="stable")
    return before[table_order(frame.iloc[before])]


def _taken(values: pa.ChunkedArray, order: NDArray[np.intp]) -> pa.ChunkedArray:
    if values.type == pa.string():  # of more than 2 GB in all, perhaps
        values = values.cast(pa.large_string())
    whole = values.combine_chunks()
    # In parts, as the buffer of one large array is made anew each time it has become too small.
    parts = (order[begin : begin + _TAKEN] for begin in range(0, len(order), _TAKEN))
    return pa.chunked_array([whole.take(pa.array(part)) for part in parts], values.type)
