"""Rows of `cells` as a DataFrame."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.plain_text import plain_lines

_MAY_BE_ABSENT = ("n_test", "n_wrong", "parameters", "iterations", "pack_size")
_BLOCK = 4096  # rows whose lists are made at once
_MANY = 16_384  # texts that are put in order at once
_LARGEST = 1_000_000  # number in lists of which there is one object


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of `cells` as a DataFrame that may be changed, and that pandas can write in all forms.

    Counts stay integers even if some are missing. Times are UTC without a time zone, which Excel
    has no place for; nor has it for the control characters of an error, which are neutral here. A
    confusion matrix is a list, as NumPy abbreviates the text of a long array.
    """
    return frame_of(columns_of(rows))


def columns_of(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns of rows by their names."""
    return dict(zip(rows.schema.names, rows.columns, strict=True))


def frame_of(
    columns: dict[str, pa.ChunkedArray], order: NDArray[np.intp] | None = None
) -> pd.DataFrame:
    """Columns of `cells` as the DataFrame of `as_frame`.

    Args:
        columns: by their names; they are taken out, so that each is freed once it is converted.
        order: numbers of the rows that are wanted, as they are to be put in order; default: all.
    """
    names = list(columns)
    # The largest first, so that the least is in memory twice; and lists, which grow, last.
    by_size = sorted(names, key=lambda name: (name == "confusion", -columns[name].nbytes))
    with _no_collection():
        arrays = {name: _as_array(name, columns, order) for name in by_size}
    # Made of arrays, as pandas takes longer to find out that all series have the same index.
    return pd.DataFrame({name: arrays[name] for name in names}, copy=False)


def _as_array(
    name: str, columns: dict[str, pa.ChunkedArray], order: NDArray[np.intp] | None
) -> Any:
    """Array that a column of a DataFrame is made of."""
    if columns[name].type == pa.string():
        texts = _texts(columns, name, order)
        return _neutral(texts) if name == "error" else texts.to_pandas().array
    values = columns.pop(name)
    if name == "confusion":
        if order is None or 2 * len(order) > len(values):
            lists = np.fromiter(_lists(values), object, len(values))
            return lists if order is None else lists[order]  # references, rather than numbers
        return np.fromiter(_lists(values.take(pa.array(order))), object, len(order))
    if name in _MAY_BE_ABSENT:
        counts, absent = values.cast(pa.int64()).fill_null(0), values.is_null()
        return pd.arrays.IntegerArray(
            _ordered(counts.to_numpy(), order), _ordered(absent.to_numpy(), order)
        )
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp(values.type.unit))
    return _ordered(values.to_numpy(), order)


def _ordered(numbers: NDArray[Any], order: NDArray[np.intp] | None) -> NDArray[Any]:
    """A copy, as nothing can be written to the numbers of Arrow."""
    return numbers.copy() if order is None else numbers[order]


def _texts(
    columns: dict[str, pa.ChunkedArray], name: str, order: NDArray[np.intp] | None
) -> pa.ChunkedArray:
    """Texts, which are taken out, in another order."""
    if order is None:
        return columns.pop(name)
    if len(order) <= _MANY:
        return columns.pop(name).take(pa.array(order))
    whole = columns.pop(name).cast(pa.large_string()).combine_chunks()  # of over 2 GB, perhaps
    # In parts, as the buffer of one large array is made anew each time it has become too small.
    parts = (order[begin : begin + _MANY] for begin in range(0, len(order), _MANY))
    return pa.chunked_array([whole.take(pa.array(part)) for part in parts], whole.type)


def _neutral(errors: pa.ChunkedArray) -> Any:
    """Errors without control characters."""
    if errors.null_count == len(errors):
        return errors.to_pandas().array
    lines = (error and plain_lines(error) for error in errors.to_pylist())
    return pa.chunked_array([pa.array(lines, errors.type)]).to_pandas().array


def _lists(column: pa.ChunkedArray) -> list[list[int] | None]:
    """Lists of numbers; of many rows, equal numbers are one object, of which there are few."""
    lists: list[list[int] | None] = []
    shared = None if len(column) <= _BLOCK else _shared_numbers(column)
    for begin in range(0, len(column), _BLOCK):
        part = column.slice(begin, _BLOCK).combine_chunks()
        there = part.drop_null()
        numbers = there.flatten().to_numpy()
        numbers = numbers if shared is None else shared[numbers]
        lengths = there.value_lengths().to_numpy()
        if len(there) and (lengths == lengths[0]).all():  # one number of classes
            found = iter(numbers.reshape(len(there), lengths[0]).tolist())
        else:
            found = (one.tolist() for one in np.split(numbers, lengths.cumsum()[:-1]))
        lists += [next(found) if valid else None for valid in part.is_valid().to_pylist()]
    return lists


def _shared_numbers(column: pa.ChunkedArray) -> NDArray[Any] | None:
    """An object for each number up to the largest in lists, unless that is very large."""
    most = pc.max(pc.list_flatten(column)).as_py() or 0
    return np.arange(most + 1).astype(object) if 0 <= most < _LARGEST else None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps the garbage collector from looking again and again at very many lists, which takes
    several times as long as making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
