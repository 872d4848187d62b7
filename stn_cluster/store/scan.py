"""Reading many files of a store: all at once, or one after the other to save memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

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
    columns = [*FILTERS, "accepted_at"]
    names = files.names("cells", ".parquet")
    parts = read_files(files, "cells", names, columns)
    index = pa.concat_tables([CELLS.empty_table().select(columns), *parts]).to_pandas()
    index["file"] = [number for number, part in enumerate(parts) for _ in range(len(part))]
    index["row"] = [row for part in parts for row in range(len(part))]
    chosen = matching(newest(index) if latest else index, filters)
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for file, row in sorted(zip(chosen["file"].tolist(), chosen["row"].tolist(), strict=True)):
        rows[file].append(row)
    return (read_files(files, "cells", [names[n]], None)[0].take(rows[n]) for n in rows)
