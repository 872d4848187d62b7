"""Rows of one kind as the bytes of a Parquet file, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stn_cluster.errors import StoreError
from stn_cluster.store.schema import SCHEMA_VERSION, SCHEMAS, Kind

COMPRESSION = "zstd"
_LARGE = 20_000  # rows


def encode(kind: Kind, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encodes rows as one Parquet file.

    Raises:
        ValueError: a row's columns are not the schema's.
    """
    schema = SCHEMAS[kind]
    for row in rows:  # pyarrow would drop a misspelt column and fill the correct one with nulls
        wrong = set(row) ^ set(schema.names)
        if wrong:
            raise ValueError(f"{kind}: columns missing or unknown: {', '.join(sorted(wrong))}")
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, sink, compression=COMPRESSION)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode(
    kind: Kind,
    content: bytes | pa.NativeFile,
    path: str,
    columns: Sequence[str] | None = None,
    alone: bool = False,
) -> pa.Table:
    """Decodes one Parquet file, with the schema's columns or those named.

    Args:
        kind: of the file.
        content: of the file.
        path: for errors.
        columns: default: all.
        alone: whether no other file is decoded meanwhile: then threads decode its columns.

    Raises:
        StoreError: the file is torn, foreign, or of a newer schema version.
    """
    with _errors(path):
        file, schema, there = _opened(kind, content, path, columns)
        if not file.metadata.num_rows:  # as that which only tells the columns
            return schema.empty_table()
        return _filled(file.read(columns=there, use_threads=alone or _is_large(file)), schema)


def decode_parts(
    kind: Kind, content: bytes | pa.NativeFile, path: str, columns: Sequence[str], rows: int
) -> Iterator[pa.Table]:
    """Decodes one Parquet file like `decode`, in parts of as many rows, to save memory.

    Raises:
        StoreError: see `decode`.
    """
    with _errors(path):
        file, schema, there = _opened(kind, content, path, columns)
        for part in _parts(file, there, rows):
            yield _filled(part, schema)


def decode_matching(
    kind: Kind,
    content: bytes | pa.NativeFile,
    path: str,
    columns: Sequence[str],
    rows: int,
    matches: Callable[[pa.Table], NDArray[np.bool_]],
    of: Sequence[str],
) -> Iterator[pa.Table]:
    """Decodes the rows of one Parquet file that match, like `decode_parts`.

    Args:
        kind: see `decode`; so are `content` and `path`.
        columns: of the parts.
        rows: decoded at once, at most.
        matches: whether each row of a table does.
        of: columns that it looks at. If any are given, they are decoded first, and no others where
            no row matches; else they must be among `columns`.

    Raises:
        StoreError: see `decode`.
    """
    with _errors(path):
        file, schema, there = _opened(kind, content, path, columns)
        if of:
            asked = pa.schema([SCHEMAS[kind].field(name) for name in of])
            known = [name for name in of if name in file.schema_arrow.names]
            if not any(matches(_filled(part, asked)).any() for part in _parts(file, known, rows)):
                return
        for part in _parts(file, there, rows):
            whole = _filled(part, schema)
            yield from rows_where(whole, matches(whole))


def _parts(file: pq.ParquetFile, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Parts of a file, in order, of as many rows at most."""
    if file.metadata.num_rows <= rows:  # that takes less time
        yield file.read(columns=columns, use_threads=False)
        return
    for batch in file.iter_batches(rows, columns=columns, use_threads=_is_large(file)):
        yield pa.Table.from_batches([batch])


def rows_where(rows: pa.Table, wanted: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The wanted rows, if there are any."""
    if wanted.all():
        yield rows
    elif wanted.any():
        yield rows.take(pa.array(np.flatnonzero(wanted)))


def decode_all(kind: Kind, content: bytes, path: str) -> Iterator[pa.Table]:
    """Decodes one Parquet file row group by row group, with the schema's columns.

    Raises:
        StoreError: see `decode`; or the file has columns that this version does not know.
    """
    with _errors(path):
        file, schema, there = _opened(kind, content, path, None)
        unknown = ", ".join(sorted({*file.schema_arrow.names} - {*schema.names}))
        if unknown:
            raise StoreError(f"{path}: has columns that this version does not know: {unknown}")
        for group in range(file.num_row_groups):
            yield _filled(file.read_row_group(group, columns=there), schema)


def lacks_columns(kind: Kind, content: bytes, path: str) -> bool:
    """Whether a file was written by an older version and lacks columns that were added since.

    Raises:
        StoreError: the file is torn.
    """
    try:
        schema = pq.read_schema(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise torn(path, error) from error
    return not set(SCHEMAS[kind].names) <= set(schema.names)


def torn(path: str, error: Exception) -> StoreError:
    """The error that a file is not readable as Parquet."""
    reason = " ".join(str(error).split())
    return StoreError(f"{path}: torn, not readable as Parquet ({reason}); move it away")


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None):  # of the disk or the network
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        raise torn(path, error) from error


def _opened(
    kind: Kind, content: bytes | pa.NativeFile, path: str, columns: Sequence[str] | None
) -> tuple[pq.ParquetFile, pa.Schema, list[str]]:
    """A file that was checked, the wanted columns, and those of them that it has."""
    schema = SCHEMAS[kind]
    file = pq.ParquetFile(pa.BufferReader(content) if isinstance(content, bytes) else content)
    absent = _check(file, schema, path)
    all_columns = columns is None or list(columns) == schema.names
    wanted = schema if all_columns else pa.schema([schema.field(name) for name in columns or ()])
    return file, wanted, [name for name in wanted.names if name not in absent]


def _is_large(file: pq.ParquetFile) -> bool:
    """Whether it is worth the while to decode a file's columns in threads."""
    return bool(file.metadata.num_rows > _LARGE)


def _filled(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with all columns of a schema: nulls in those that they lack."""
    if rows.schema.equals(schema):
        return rows
    there = set(rows.schema.names)
    columns = [
        rows[field.name] if field.name in there else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _check(file: pq.ParquetFile, schema: pa.Schema, path: str) -> set[str]:
    """Columns that an older version did not write yet; raises StoreError for a foreign file."""
    actual = file.schema_arrow
    version = _version(file)
    if version is None or version < 1:
        raise _foreign(path, "it has no schema_version")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: schema version {version} is newer than this stn-cluster's {SCHEMA_VERSION}: "
            "upgrade stn-cluster to read it"
        )
    absent: set[str] = set()
    if actual.equals(schema):
        return absent
    for field in schema:
        index = actual.get_field_index(field.name)
        if index >= 0 and actual.field(index).type != field.type:
            wrong = f"column {field.name} is {actual.field(index).type}, not {field.type}"
            raise _foreign(path, wrong)
        # A file without rows has no version, and nothing can be lost with it.
        if index < 0 and version == SCHEMA_VERSION and file.metadata.num_rows:
            raise _foreign(path, f"it has no column {field.name}")
        if index < 0:
            absent.add(field.name)
    return absent


def _version(file: pq.ParquetFile) -> int | None:
    """Largest schema version of the rows; the present version if there are no rows."""
    index = file.schema_arrow.get_field_index("schema_version")
    if index < 0 or not pa.types.is_integer(file.schema_arrow.field(index).type):
        return None
    if file.metadata.num_rows == 0:
        return SCHEMA_VERSION
    # Statistics are in the file's footer; without them, the column is read.
    place = file.schema.names.index("schema_version")
    groups = [file.metadata.row_group(n).column(place) for n in range(file.num_row_groups)]
    known = [group.statistics for group in groups if group.path_in_schema == "schema_version"]
    if len(known) == len(groups) and all(one and one.has_min_max for one in known):
        return max(int(one.max) for one in known)
    largest: int | None = pc.max(file.read(columns=["schema_version"])["schema_version"]).as_py()
    return largest


def _foreign(path: str, reason: str) -> StoreError:
    return StoreError(f"{path}: not a file of this store: {reason}; move it away")
