"""Reading many files of a store at once, or in turn to save memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.store.files import Files
from stn_cluster.store.names import with_present_names
from stn_cluster.store.parquet import decode, decode_matching, decode_parts, rows_where
from stn_cluster.store.row_filters import stored_matches
from stn_cluster.store.schema import SCHEMAS, Kind

A = TypeVar("A")
B = TypeVar("B")

_READERS = 8  # files of an object store read in parallel: that is mostly waiting
_SMALL = 16 * 2**20  # bytes of files that are decoded before one is dropped
_TURNS = 2  # files that are read one after the other
_PART = 8192  # rows decoded at once, of columns that take much memory


def read_files(
    files: Files, kind: Kind, names: Sequence[str], columns: Sequence[str] | None
) -> list[pa.Table]:
    """Rows of each file, with all columns or those named, and present names of distortions.

    Raises:
        StoreError: a file is torn, foreign or of a newer schema version.
    """
    wanted = list(columns or SCHEMAS[kind].names)
    needed = needed_for(wanted) if kind == "cells" else wanted

    def read(name: str) -> pa.Table:
        with files.open(name) as source:
            if needed is wanted:
                return decode(kind, source, files.where(name), needed)
            # The spec is the largest column; it is dropped as soon as it was looked at.
            parts = decode_parts(kind, source, files.where(name), needed, _PART)
            return joined((with_present_names(part).select(wanted) for part in parts), wanted)

    def read_stored(name: str) -> pa.Table:
        with files.open(name) as source:
            return decode(kind, source, files.where(name), needed, alone=len(names) <= _TURNS)

    together = needed is not wanted and are_small(files, kind, names)
    parts = _each(read_stored if together else read, names, readers(files))
    return _named_together(parts, wanted) if together else parts


def are_small(files: Files, kind: Kind, names: Sequence[str]) -> bool:
    """Whether files of a kind take little memory, all together."""
    sizes = files.sizes(kind)
    return sum(sizes.get(name, 0) for name in names) <= _SMALL


def read_rows(
    files: Files, name: str, rows: NDArray[Any], columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Some rows of a file of `cells`, by their numbers in increasing order, as they are stored: in
    parts.

    Raises:
        StoreError: see `read_files`.
    """
    begin = 0
    with files.open(name) as source:
        for part in decode_parts("cells", source, files.where(name), columns, _PART):
            first, last = rows.searchsorted([begin, begin + len(part)])
            wanted = np.zeros(len(part), bool)
            wanted[rows[first:last] - begin] = True
            yield from rows_where(part, wanted)
            begin += len(part)


def read_matching(
    files: Files, names: Sequence[str], used: Mapping[str, list[Any]], columns: Sequence[str]
) -> pa.Table:
    """Rows of files of `cells` that match filters by columns that are stored as they are shown.

    Raises:
        StoreError: see `read_files`.
    """

    needed = list(dict.fromkeys([*columns, *used]))
    first = list(used)  # these columns are decoded first, while there are files without a match

    def matches(rows: pa.Table) -> NDArray[np.bool_]:
        return stored_matches(rows, used)

    def read(name: str) -> pa.Table:
        nonlocal first
        with files.open(name) as source:
            where = files.where(name)
            parts = decode_matching("cells", source, where, needed, _PART, matches, first)
            found = joined(parts, needed).select(columns)
        first = [] if len(found) else list(used)
        return found

    return joined(in_turn(read, names, readers(files)), columns)


def read_plugin_cells(files: Files, names: Sequence[str]) -> pa.Table:
    """Key and spec of each row of `cells` that is of a plug-in.

    Raises:
        StoreError: see `read_files`.
    """
    columns = ["key", "spec"]

    def read(name: str) -> pa.Table:
        with files.open(name) as source:
            parts = decode_parts("cells", source, files.where(name), columns, _PART)
            return joined((part.filter(_has_plugins(part["spec"])) for part in parts), columns)

    return joined(in_turn(read, names, readers(files)), columns)


def _has_plugins(specs: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(pc.match_substring(specs, '"plugins":[]'))


def needed_for(columns: list[str]) -> list[str]:
    """Columns of `cells`, with those that present names are made of if there are such names."""
    if {"distortion", "label"}.isdisjoint(columns):
        return columns
    return list(dict.fromkeys([*columns, "distortion", "spec"]))


def in_turn(function: Callable[[A], B], items: Iterable[A], ahead: int) -> Iterator[B]:
    """Results of a function, in order, made by threads: no more than as many in advance."""
    with ThreadPoolExecutor(ahead) as threads:
        waiting: deque[Future[B]] = deque()
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def readers(files: Files) -> int:
    """Files that are read at once."""
    return min(os.cpu_count() or 1, _READERS) if files.local else _READERS


def joined(parts: Iterable[pa.Table], columns: Sequence[str]) -> pa.Table:
    """One table of parts with these columns of `cells`."""
    found = list(parts)
    if not found:
        return SCHEMAS["cells"].empty_table().select(list(columns))
    return found[0] if len(found) == 1 else pa.concat_tables(found)


def _each(function: Callable[[A], B], items: Sequence[A], threads: int) -> list[B]:
    """Results of a function; of a few items, threads would take longer to come and go."""
    if len(items) <= _TURNS:
        return list(map(function, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def _named_together(parts: Sequence[pa.Table], columns: Sequence[str]) -> list[pa.Table]:
    """Columns of parts of `cells`, with present names, which are looked up for all at once."""
    if not parts:
        return []
    rows = with_present_names(pa.concat_tables(parts).combine_chunks()).select(columns)
    ends = np.cumsum([len(part) for part in parts])
    return [rows.slice(end - len(part), len(part)) for end, part in zip(ends, parts, strict=True)]
