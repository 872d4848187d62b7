"""Export of rows of `cells` as JSON, CSV or Parquet, also as a stream: never all of them in memory.

JSON and CSV are for other programs and for people. A row is a line, a list is JSON, a time is as in
2026-01-31T18:45:00.123456Z, a number has no more digits than it needs. Text of user code stays
text: see `stn_cluster.plain_text`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.errors import UserError, unknown
from stn_cluster.plain_text import for_spreadsheet, in_json
from stn_cluster.store.frames import as_frame
from stn_cluster.store.schema import CELLS
from stn_cluster.store.shortest import shortest
from stn_cluster.store.text_lines import csv_lines, json_lines


def export(tables: Iterator[pa.Table], form: str) -> Iterator[bytes]:
    """Streams rows of `cells` as one file.

    Args:
        tables: from `Store.scan`; each is read after the previous one has been streamed.
        form: json (a list of objects), csv or parquet.

    Raises:
        UserError: there is no such format.
    """
    if form not in EXPORTS:
        raise UserError(unknown("format", form, EXPORTS), "format")
    return EXPORTS[form](tables)


def as_file(rows: pd.DataFrame, form: str) -> bytes:
    """Rows as one file: json, csv or parquet."""
    if form == "parquet":
        written = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), written)
        return written.getvalue()
    return (as_csv(rows) if form == "csv" else as_json(rows) + "\n").encode()


def as_json(rows: pd.DataFrame) -> str:
    """Rows as a JSON list of objects, one a line; missing and infinite numbers are null."""
    columns = [_finite(_values(column)) for _, column in rows.items()]
    names = [str(name) for name in rows]
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = [encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return in_json("[" + ",\n".join(lines) + "]")


def as_csv(rows: pd.DataFrame, header: bool = True) -> str:
    """Rows as CSV, one a line; missing values are empty."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if header:
        writer.writerow(rows.columns)
    writer.writerows(
        zip(*(list(map(_csv_value, _values(column))) for _, column in rows.items()), strict=True)
    )
    return written.getvalue()


def from_parquet(content: bytes) -> pd.DataFrame:
    """Reads a Parquet file of `export` or `as_file` as a DataFrame, with the types of
    `load_results`."""
    return as_frame(pq.read_table(pa.BufferReader(content)))


def _values(column: pd.Series[Any]) -> list[Any]:
    """Values of a column as JSON has them, but with infinite numbers; None if missing."""
    kind = column.dtype
    if isinstance(kind, pd.DatetimeTZDtype):
        column, kind = column.dt.tz_convert(None), np.dtype("datetime64[us]")
    if pd.api.types.is_datetime64_dtype(kind):
        texts = np.datetime_as_string(column.to_numpy("datetime64[us]")).tolist()
        return [None if text == "NaT" else f"{text}Z" for text in texts]
    if isinstance(kind, np.dtype) and kind.kind == "f":  # of its own width, as pandas widens it
        return [None if number != number else _value(number) for number in column.to_numpy()]
    values = column.astype(object).where(column.notna(), None).tolist()
    whole = isinstance(kind, np.dtype) and kind.kind in "biu"
    if whole or isinstance(kind, pd.StringDtype | pd.Int64Dtype):
        return values
    return [_value(value) for value in values]


def _value(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return shortest(value) if math.isfinite(value) else float(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _finite(values: list[Any]) -> list[Any]:
    if not {math.inf, -math.inf}.intersection(v for v in values if type(v) is float):
        return values
    return [None if value in (math.inf, -math.inf) else value for value in values]


def _csv_value(value: Any) -> Any:
    if isinstance(value, str):
        return for_spreadsheet(value)
    return json.dumps(value) if isinstance(value, list | dict | tuple) else value


def _json(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    return json_of(lines_of(tables, "json"))


def _csv(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    return csv_of(lines_of(tables, "csv"))


def lines_of(tables: Iterator[pa.Table], form: str) -> Iterator[bytes]:
    """Lines of rows of `cells`, those of each table together; see `csv_lines`, `json_lines`."""
    lines = csv_lines if form == "csv" else json_lines
    return (content_of(lines(table)) for table in tables if table.num_rows)


def content_of(texts: pa.StringArray) -> bytes:
    """Texts one after the other."""
    begins = np.frombuffer(texts.buffers()[1], np.int32)
    content: bytes = texts.buffers()[2].to_pybytes()[: begins[len(texts)]]
    return content


def json_of(lines: Iterator[bytes]) -> Iterator[bytes]:
    """A list of JSON of the lines of its objects."""
    first = next(lines, None)
    if first is None:
        yield b"[]\n"
        return
    yield b"[" + first[2:]
    yield from lines
    yield b"]\n"


def csv_of(lines: Iterator[bytes]) -> Iterator[bytes]:
    """A file of CSV of the lines of its rows."""
    yield as_csv(as_frame(CELLS.empty_table())).encode()
    yield from lines


def _parquet(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    written = io.BytesIO()

    def take() -> bytes:
        piece = written.getvalue()
        written.seek(0)
        written.truncate()
        return piece

    with pq.ParquetWriter(pa.PythonFile(_Counting(written), mode="w"), CELLS) as writer:
        for table in tables:
            writer.write_table(table)
            yield take()
    yield take()


class _Counting(io.RawIOBase):
    """File that counts the bytes written to it, as they are removed from the buffer meanwhile."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file
        self._position = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._position += self._file.write(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def writable(self) -> bool:
        return True


EXPORTS: dict[str, Callable[[Iterator[pa.Table]], Iterator[bytes]]] = {
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}
