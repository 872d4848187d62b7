"""Current files of a kind: those in its folder, but for those that a compacted file has replaced.

A compacted file holds the rows of several files, which are removed after it was written, and lists
their names in its Parquet metadata; its own name shows that it is one. Every reader of rows goes
through `current_files`, or `read_current`, so that it sees each row exactly once at any moment.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.errors import StoreError
from stn_cluster.store.files import Files
from stn_cluster.store.parquet import torn
from stn_cluster.store.schema import Kind

T = TypeVar("T")

REPLACES = b"stn_cluster.replaces"  # in a file's metadata: JSON list of names without the folder
_COMPACTED = re.compile(r"-c[0-9a-f]{8}\.parquet$")
_READERS = 8  # metadata read in parallel: an object store is slow
_MOST_TRIES = 20  # as often, files are replaced while they are read


def current_files(files: Files, kind: Kind) -> list[str]:
    """Names of the files that hold each row of a kind once, in the order of commits.

    Raises:
        StoreError: the folder cannot be listed, a compacted file is torn, or the store is gone.
    """
    before = dated_current_files(files, kind)
    while True:
        now = dated_current_files(files, kind)
        # No folder is listed in an instant: a replaced file may have gone before the list came to
        # it, and the file in its place have come after. The next list then has a new one.
        if before.keys() <= now.keys() and not any(map(is_compacted, now.keys() - before.keys())):
            return sorted(now)
        before = now


def dated_current_files(files: Files, kind: Kind) -> dict[str, int]:
    """Files of a kind, listed once, with the time of the last write of each (nanoseconds).

    It may lack files that are replaced at this moment, and those in their place.

    Raises:
        StoreError: see `current_files`.
    """
    for _ in range(_MOST_TRIES):
        listed = {n: written for n, written in files.dated(kind) if n.endswith(".parquet")}
        if not listed:
            check_there(files)
        compacted = [name for name in listed if is_compacted(name)]
        try:
            found = _all_replaced(files, compacted)
        except StoreError as error:
            if not is_gone(error):
                raise
            failure = error
        else:
            replaced = frozenset[str]().union(*found)
            return {name: written for name, written in listed.items() if name not in replaced}
    raise failure


def read_current(files: Files, kind: Kind, read: Callable[[list[str]], T]) -> T:
    """Result of reading the current files of a kind; read anew if one is replaced meanwhile.

    Args:
        files: of the store.
        kind: what is read.
        read: reads files by their names; may be called several times.

    Raises:
        StoreError: see `current_files`, or a file cannot be read.
    """
    for _ in range(_MOST_TRIES):
        try:
            return read(current_files(files, kind))
        except (StoreError, OSError) as error:
            if not is_gone(error):
                raise
    return read(current_files(files, kind))


def is_gone(error: BaseException) -> bool:
    """Whether an error, or its cause, says that a file is not there any more."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return isinstance(cause, FileNotFoundError) or getattr(cause, "errno", None) == errno.ESTALE


def is_compacted(name: str) -> bool:
    """Whether a file is a compacted one, by its name."""
    return _COMPACTED.search(name) is not None


def replaced_files(files: Files, name: str) -> frozenset[str]:
    """Names of the files that a compacted file has replaced.

    Raises:
        StoreError: it is torn, or not there.
    """
    known = files.remembered
    if name not in known:  # a file never changes
        folder = name.rpartition("/")[0]
        with files.open(name) as file:
            try:
                listed = (pq.read_metadata(file).metadata or {}).get(REPLACES, b"[]")
                known[name] = frozenset(f"{folder}/{replaced}" for replaced in json.loads(listed))
            except (pa.ArrowException, OSError, TypeError, ValueError, RecursionError) as error:
                raise torn(files.where(name), error) from error
    return known[name]


def check_there(files: Files) -> None:
    """Checks that there is a store: nobody may take one that is gone for an empty one.

    Raises:
        StoreError: it is gone.
    """
    if not files.is_folder("cells"):
        raise StoreError(f"{files.where()}: the store's folder is not there: is its disk mounted?")


def _all_replaced(files: Files, names: list[str]) -> list[frozenset[str]]:
    """See `replaced_files`; of a local disk without threads, which would take longer."""
    if files.local or all(name in files.remembered for name in names):
        return [replaced_files(files, name) for name in names]
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda name: replaced_files(files, name), names))
