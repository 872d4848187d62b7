"""Compaction: neighbouring small files of a kind become one that holds the same rows.

The compacted file is written first, and counts from then on: see `store.current`. Then the files
that it has replaced are removed, one by one. A crash in between costs nothing but the room that
they take, until `remove_replaced` is called again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.errors import StoreError
from stn_cluster.failpoints import failpoint
from stn_cluster.grid import short_hash
from stn_cluster.store.current import REPLACES, is_compacted, replaced_files
from stn_cluster.store.files import Files
from stn_cluster.store.parquet import COMPRESSION, decode_all
from stn_cluster.store.schema import SCHEMAS, Kind

LARGEST = 32 * 2**20  # bytes of a compacted file; files of half of that are left as they are
SMALLEST = 64 * 2**10  # bytes: files below are all taken to be equally small
ROW_GROUP = 16 * 2**20  # bytes of a row group, before compression
MOST_FILES = 1000  # in one: it lists their names
FEWEST_FILES = 8  # unless as few files as possible are wanted
MOST_SWAPS = 16  # files that are written before those are removed that they have replaced
SWAP_SECONDS = 2.0  # for readers that listed the folder just before: they read replaced files

# Names that we give: of a commit's time, or a test set; then the mark of a compacted file.
_OURS = re.compile(r"(\d{8}T\d{12}-[0-9a-f]{8}|[0-9a-f]{16})(-c[0-9a-f]{8})?\.parquet")


class Compaction:
    """Compaction of a store in small steps, which may be given up after any of them.

    While it is `swapping`, there are rows that others than we see twice: better to go on.

    Iterating takes the steps, each of a fraction of a second, and gives the seconds to wait before
    the next one: mostly 0.

    Args:
        files: of the store, which nobody else compacts meanwhile.
        whole: whether as few files as possible are wanted. Otherwise files become one only where
            that at least doubles the largest of them: the bytes that are written for a row grow
            with the logarithm of the store's size, however often it is compacted.
    """

    def __init__(self, files: Files, whole: bool) -> None:
        self.left: dict[str, str] = {}  # files that are left as they are, and why, by their names
        self.swapping = False  # whether a compacted file is written, and not all replaced are gone
        self._files = files
        self._whole = whole

    def __iter__(self) -> Iterator[float]:
        """Takes the steps.

        Raises:
            StoreError: the disk or network failed; no row is lost.
        """
        for kind in SCHEMAS:
            yield from remove_replaced(self._files, kind)
            while runs := next_runs(self._files.sizes(kind), self.left, self._whole):
                for run in runs[: MOST_SWAPS if self._whole else 1]:
                    yield from self._merge(kind, run)
                if self.swapping:
                    yield SWAP_SECONDS
                yield from remove_replaced(self._files, kind)
                self.swapping = False

    def _merge(self, kind: Kind, run: Sequence[str]) -> Iterator[float]:
        """Writes one file for several, unless one of them is unfit: it is then in `left`."""
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, SCHEMAS[kind], compression=COMPRESSION) as writer:
            waiting: list[pa.Table] = []
            size = 0
            for name in run:
                content = self._files.read(name)
                try:
                    for part in decode_all(kind, content, self._files.where(name)):
                        waiting.append(part)
                        size += part.nbytes
                        if size >= ROW_GROUP:
                            _write_group(writer, waiting)
                            size = 0
                        yield 0.0
                except StoreError as error:
                    self.left[name] = str(error)
                    return
            _write_group(writer, waiting)
            names = [name.rpartition("/")[2] for name in run]
            writer.add_key_value_metadata({REPLACES.decode(): json.dumps(names)})
        self._files.write(compacted_name(run), sink.getvalue().to_pybytes(), like=run)
        self.swapping = True
        failpoint("compaction-written")
        yield 0.0


def usage(files: Files) -> dict[Kind, tuple[int, int]]:
    """Number of the Parquet files of each kind, and their bytes.

    Raises:
        StoreError: the store cannot be listed.
    """
    sizes = {kind: list(files.sizes(kind).values()) for kind in SCHEMAS}
    return {kind: (len(bytes_), sum(bytes_)) for kind, bytes_ in sizes.items()}


def next_runs(sizes: Mapping[str, int], left: Collection[str], whole: bool) -> list[list[str]]:
    """Runs of neighbouring files of a kind that are to become one each; [] if there are none.

    Args:
        sizes: bytes of the kind's files, in the order of their names.
        left: files that stay as they are.
        whole: see `Compaction`.
    """
    most = LARGEST // 2
    while not whole and most > SMALLEST:
        most //= 4
    while most <= LARGEST // 2:
        runs = [run for run in _runs(sizes, left, most) if _is_worthwhile(run, sizes, whole)]
        if runs:
            return runs
        most *= 4
    return []


def compacted_name(run: Sequence[str]) -> str:
    """Name of the file for a run of files; it sorts where the first of them does.

    The same files give the same name, so that it does no harm to compact them twice at once.
    """
    folder, _, first = run[0].rpartition("/")
    found = _OURS.fullmatch(first)
    assert found is not None
    return f"{folder}/{found[1]}-c{short_hash(list(run), digits=8)}.parquet"


def remove_replaced(files: Files, kind: Kind) -> Iterator[float]:
    """Removes files that a compacted one has replaced, in steps as of `Compaction`.

    Raises:
        StoreError: the compacted file cannot be read as a whole: nothing is removed; or the disk or
            network failed.
    """
    listed = files.names(kind, ".parquet")
    replaced = {name: replaced_files(files, name) for name in listed if is_compacted(name)}
    known = set(listed)
    going = frozenset[str]().union(*replaced.values())
    for name in replaced:
        if name in going:
            continue  # after those that it has replaced
        there = [one for one in _replaced_first(name, replaced) if one in known]
        if there:
            for _ in decode_all(kind, files.read(name), files.where(name)):
                yield 0.0
        for one in there:
            files.remove(one)
            failpoint("compaction-removed")
            yield 0.0


def _replaced_first(
    name: str, replaced: Mapping[str, Collection[str]], seen: Collection[str] = ()
) -> Iterator[str]:
    """Files that a compacted one has replaced, each after those that it has replaced itself.

    Those of `seen` are left out: ours never replace each other in a circle, but others may say so.
    """
    seen = {*seen, name}
    for one in sorted({*replaced.get(name, ())} - seen):
        yield from _replaced_first(one, replaced, seen)
        yield one


def _is_worthwhile(run: Sequence[str], sizes: Mapping[str, int], whole: bool) -> bool:
    if whole:
        return len(run) > 1
    total, largest = sum(sizes[name] for name in run), max(sizes[name] for name in run)
    enough = len(run) >= FEWEST_FILES or total > LARGEST // 2
    return enough and total >= 2 * largest


def _runs(sizes: Mapping[str, int], left: Collection[str], most: int) -> Iterator[list[str]]:
    """Runs of neighbouring files that may become one, each of at most `most` bytes."""
    run: list[str] = []
    total = 0
    for name, size in sizes.items():
        fits = size <= most and name not in left and _OURS.fullmatch(name.partition("/")[2])
        if run and (not fits or total + size > LARGEST or len(run) == MOST_FILES):
            yield run
            run, total = [], 0
        if fits:
            run.append(name)
            total += size
    if run:
        yield run


def _write_group(writer: pq.ParquetWriter, waiting: list[pa.Table]) -> None:
    """Writes the tables that wait as one row group."""
    if waiting:
        table = pa.concat_tables(waiting).combine_chunks()
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        waiting.clear()
