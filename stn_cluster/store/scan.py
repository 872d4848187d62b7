"""Reading many files of a store: all at once, or one after the other to save memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from stn_cluster.errors import StoreError
from stn_cluster.store.current import is_gone, read_current
from stn_cluster.store.files import Files
from stn_cluster.store.frames import FILTERS, matching, newest
from stn_cluster.store.names import with_present_names
from stn_cluster.store.schema import CELLS, SCHEMAS, Kind, decode

_READERS = 8  # files read in parallel: reading from an object store is mostly waiting


def read_files(
    files: Files, kind: Kind, names: Sequence[str], columns: Sequence[str] | None
) -> list[pa.Table]:
    """Rows of each file, with all columns or those named, and present names of distortions.

    Raises:
        StoreError: a file is torn, foreign or of a newer schema version.
    """
    wanted = list(columns or SCHEMAS[kind].names)
    named = kind == "cells" and not {"distortion", "label"}.isdisjoint(wanted)
    needed = list(dict.fromkeys([*wanted, "distortion", "spec"])) if named else wanted

    def read(name: str) -> pa.Table:
        rows = decode(kind, files.read(name), files.where(name), needed)
        return with_present_names(rows).select(wanted) if named else rows

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(read, names))


def scan(files: Files, filters: Mapping[str, Any], latest: bool) -> Iterator[pa.Table]:
    """See `Store.scan`."""
    places = _places(files, [*FILTERS, "accepted_at"])
    return _read_places(files, matching(newest(places) if latest else places, filters))


def _places(files: Files, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of all rows of `cells`, with the file of each and its row in it."""

    def read(names: list[str]) -> pd.DataFrame:
        parts = read_files(files, "cells", names, columns)
        places: pd.DataFrame = pa.concat_tables(
            [CELLS.empty_table().select(columns), *parts]
        ).to_pandas()
        places["file"] = np.repeat(np.array(names, object), [len(part) for part in parts])
        places["row"] = [row for part in parts for row in range(len(part))]
        return places

    return read_current(files, "cells", read)


def _read_places(files: Files, places: pd.DataFrame) -> Iterator[pa.Table]:
    """Rows at some places, file by file."""
    places = places.sort_values(["file", "row"])
    for name, rows in places.groupby("file"):
        try:
            [table] = read_files(files, "cells", [str(name)], None)
        except StoreError as error:
            if not is_gone(error):
                raise
            # It was replaced meanwhile. The times of acceptance tell rows apart.
            left = places.loc[places["file"] >= name, "accepted_at"]
            now = _places(files, ["accepted_at"])
            yield from _read_places(files, now[now["accepted_at"].isin(left)])
            return
        yield table.take(rows["row"].tolist())
