"""Export of rows of `cells` as a stream of JSON, CSV or Parquet, never all of them in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stn_cluster.errors import UserError, unknown
from stn_cluster.store.frames import as_frame
from stn_cluster.store.schema import CELLS


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


def json_records(rows: pd.DataFrame, indent: int | None = None) -> str:
    """Rows as a JSON list of objects, times as in 2026-01-31T18:45:00.000Z."""
    text: str = rows.to_json(orient="records", date_format="iso", indent=indent, force_ascii=False)
    return text


def from_parquet(content: bytes) -> pd.DataFrame:
    """Reads a Parquet file of `export` as a DataFrame with the types of `load_results`."""
    return as_frame(pq.read_table(pa.BufferReader(content)))


def _json(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    separator = "["
    for table in tables:
        if table.num_rows:
            yield (separator + json_records(as_frame(table))[1:-1]).encode()
            separator = ",\n"
    yield b"[]\n" if separator == "[" else b"]\n"


def _csv(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    yield CELLS.empty_table().to_pandas().to_csv(index=False).encode()
    for table in tables:
        yield as_frame(table).to_csv(index=False, header=False).encode()


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
