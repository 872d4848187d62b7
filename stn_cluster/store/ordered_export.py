"""Export of current rows of `cells` in the table's order, without all of them in memory.

Lines are made in the order of the files, kept in a temporary file, and read from it in the table's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.errors import StoreError
from stn_cluster.store.current import read_current
from stn_cluster.store.export import content_of, csv_of, json_of
from stn_cluster.store.files import Files
from stn_cluster.store.names import with_present_names
from stn_cluster.store.places import find
from stn_cluster.store.row_order import TABLE_ORDER, order_of
from stn_cluster.store.scan import in_turn, joined, readers
from stn_cluster.store.schema import CELLS
from stn_cluster.store.text_lines import csv_lines, json_lines

_AT_ONCE = 4096  # lines that are read at once
_FORMS = {"csv": (csv_lines, csv_of), "json": (json_lines, json_of)}


def export_in_order(files: Files, filters: Mapping[str, Any], form: str) -> Iterator[bytes]:
    """Current rows that match all filters as one file, csv or json, in the table's order.

    Raises:
        UserError: there is no such filter.
        StoreError: a file cannot be read, or there is no place for temporary files.
    """
    make, file_of = _FORMS[form]
    columns = [*TABLE_ORDER, "status"]

    def made(part: pa.Table) -> tuple[pa.StringArray, pa.Table]:
        rows = with_present_names(part)
        return make(rows), rows.select(columns)

    def keep(names: Sequence[str]) -> tuple[NDArray[np.int64], pa.Table]:
        kept.seek(0)
        kept.truncate()
        lengths, order = [], []
        parts = find(files, names, filters, latest=True).parts(files, CELLS.names)
        for lines, names_of_rows in in_turn(made, parts, readers(files)):
            kept.write(content_of(lines))
            lengths.append(pc.binary_length(lines).to_numpy())
            order.append(names_of_rows)
        kept.flush()
        return np.concatenate([[0], *lengths]).astype(np.int64), joined(order, columns)

    try:
        with tempfile.TemporaryFile() as kept:
            lengths, rows = read_current(files, "cells", keep)
            yield from file_of(_in_order(kept, lengths, order_of(rows, latest=True)))
    except OSError as error:
        raise StoreError(f"{tempfile.gettempdir()}: cannot be used: {error.strerror}") from error


def _in_order(
    kept: IO[bytes], lengths: NDArray[np.int64], order: NDArray[np.intp]
) -> Iterator[bytes]:
    """Lines of a file in another order; `lengths` are theirs, after a 0."""
    begins = lengths.cumsum()
    for first in range(0, len(order), _AT_ONCE):
        chosen = order[first : first + _AT_ONCE]
        places = zip(lengths[chosen + 1].tolist(), begins[chosen].tolist(), strict=True)
        yield b"".join(os.pread(kept.fileno(), length, begin) for length, begin in places)
