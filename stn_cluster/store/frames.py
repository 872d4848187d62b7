"""Rows of `cells` as a DataFrame: the current ones, the table's order, filters."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import (
    CELL_FILTERS,
    PAPER_DISTORTIONS,
    PAPER_MODELS,
    PAPER_TRANSFORMS,
    base_distortion,
)
from stn_cluster.plain_text import plain_lines

# Columns that rows can be filtered by: equal to a value, or one of several.
FILTERS = (*CELL_FILTERS, "status")
# Columns that the table's order is made of, the first one first.
TABLE_ORDER = ("dataset", "recipe", "model", "transform", "distortion", "seed", "accepted_at")

_MAY_BE_ABSENT = ("n_test", "n_wrong", "parameters", "iterations", "pack_size")
_BLOCK = 4096  # rows whose lists are made at once
_MANY = 1_000_000  # of a table of numbers
_PAPER_ORDER = {
    "model": PAPER_MODELS,
    "transform": PAPER_TRANSFORMS,
    "distortion": PAPER_DISTORTIONS,
}


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of `cells` as a DataFrame that every writer of pandas can write.

    Counts stay integers even if some are missing. Times are UTC without a time zone, which Excel
    has no place for; nor has it for the control characters of an error, which are neutral here. A
    confusion matrix is a list, as NumPy abbreviates the text of a long array.
    """
    return frame_of(zip(rows.schema.names, rows.columns, strict=True))


def frame_of(columns: Iterable[tuple[str, pa.ChunkedArray]]) -> pd.DataFrame:
    """Columns of `cells` as the DataFrame of `as_frame`; each is read after the one before it was
    converted, so that one which is read from nowhere else is not in memory twice."""
    # Arrays, as pandas takes longer to find out that all series have the same index.
    arrays = {name: _as_series(name, values).array for name, values in columns}
    return pd.DataFrame(arrays, copy=False)


def _as_series(name: str, values: pa.ChunkedArray) -> pd.Series[Any]:
    if name == "confusion":
        return pd.Series(_lists(values), dtype=object)
    if name in _MAY_BE_ABSENT:
        counts = values.cast(pa.int64()).fill_null(0).to_numpy()
        return pd.Series(pd.arrays.IntegerArray(counts.copy(), values.is_null().to_numpy()))
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp(values.type.unit))
    column: pd.Series[Any] = values.to_pandas()
    if name == "error" and values.null_count < len(values):
        there = column.notna()
        plain = column[there].map(plain_lines).astype(column.dtype)
        return plain if there.all() else plain.reindex(column.index)
    return column


def _lists(column: pa.ChunkedArray) -> list[list[int] | None]:
    """Lists of numbers; of many rows, equal numbers are one object, of which there are few."""
    lists: list[list[int] | None] = []
    shared = None if len(column) <= _BLOCK else _shared_numbers(column)
    with _no_collection():
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
    return np.arange(most + 1).astype(object) if 0 <= most < _MANY else None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps the garbage collector from looking again and again at a growing list of lists, which
    takes several times as long as making it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    """Newest succeeded row of each key, or its newest failed one; newest by `accepted_at`."""
    succeeded = (frame["status"] == "succeeded").to_numpy(bool)
    keys = pd.factorize(frame["key"], use_na_sentinel=False)[0]
    return frame.iloc[newest_rows(keys, succeeded, _ranks(frame["accepted_at"]))]


def newest_rows(
    keys: NDArray[np.integer[Any]], succeeded: NDArray[np.bool_], accepted_at: NDArray[Any]
) -> NDArray[np.intp]:
    """Position of the newest succeeded row of each key, or of its newest failed one.

    Args:
        keys: number of each row's key, from 0.
        succeeded: whether each row succeeded.
        accepted_at: its time, or a number in the order of times; rows without one are the newest,
            and of those with the same, the last.

    Returns:
        One for each key, those of failed rows first, then by time.
    """
    order = np.lexsort((accepted_at, succeeded))  # stable, and NaT comes last
    last = np.zeros(keys.max(initial=-1) + 1, np.intp)
    last[keys[order]] = np.arange(len(order))  # of the rows of a key, the last one is left
    rows: NDArray[np.intp] = order[np.sort(last)]
    return rows


def in_table_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sorts rows by data set, recipe, model, transform, distortion, seed and time of acceptance.

    The paper's names come first, in the paper's order, then others by name.
    """
    return frame.iloc[table_order(frame)].reset_index(drop=True)


def table_order(frame: pd.DataFrame) -> NDArray[np.intp]:
    """Positions of rows in the order of `in_table_order`, by those of its columns that are there.

    Rows that are equal in all of them stay in their order.
    """
    ranks = [_ranks(frame[name]) for name in TABLE_ORDER if name in frame]
    return np.lexsort(ranks[::-1]) if ranks else np.arange(len(frame))


def _ranks(column: pd.Series[Any]) -> NDArray[Any]:
    """Numbers in the order of a column's values, or their times; missing values come last."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuM":
        return column.to_numpy()
    codes, values = pd.factorize(column)  # of few values; that of a missing one is -1
    order = sorted(range(len(values)), key=lambda i: _rank(str(column.name), values[i]))
    places = np.empty(len(values) + 1, np.intp)
    places[order], places[-1] = np.arange(len(values)), len(values)
    return places[codes]


def _rank(column: str, value: Any) -> Any:
    if column not in _PAPER_ORDER:
        return value
    known = _PAPER_ORDER[column]
    base = base_distortion(value)  # 'P:xy' follows 'P'
    return (known.index(base) if base in known else len(known), value)


def matching(frame: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """Rows in which every filtered column has the wanted value, or one of the wanted values.

    A filter with value None is ignored.

    Raises:
        UserError: there is no such filter.
    """
    used = used_filters(filters)
    if used:
        frame = frame[matches(frame, used)]
    return frame.reset_index(drop=True)


def used_filters(filters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Wanted values by the name of the filter, without filters whose value is None.

    Raises:
        UserError: there is no such filter.
    """
    for name in filters:
        if name not in FILTERS:
            raise UserError(unknown("filter", name, FILTERS))
    return {name: _values(wanted) for name, wanted in filters.items() if wanted is not None}


def matches(frame: pd.DataFrame, used: Mapping[str, list[Any]]) -> NDArray[np.bool_]:
    """Whether each row has one of the wanted values in every filtered column."""
    found = np.ones(len(frame), bool)
    for name, values in used.items():
        found &= frame[name].isin(values).to_numpy(bool)
    return found


def select(frame: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """Like `matching`, but an error if no row matches.

    Raises:
        UserError: there is no such filter, or no row matches; the message names the filters and,
            for those that match nothing even on their own, the existing values.
    """
    rows = matching(frame, filters)
    if not len(rows):
        refuse_no_match(frame, filters)
    return rows


def refuse_no_match(frame: pd.DataFrame, filters: Mapping[str, Any]) -> None:
    """Raises the error that no row of a frame matches any filters, if there are any; see `select`.

    Raises:
        UserError: see `select`.
    """
    used = used_filters(filters)
    if not used:
        return
    wanted_text = ", ".join(f"{name}={','.join(map(str, values))}" for name, values in used.items())
    hints = [
        f"; {name} here: {', '.join(sorted(map(str, frame[name].unique())))}"
        for name, values in used.items()
        if name != "key" and len(frame) and not frame[name].isin(values).any()
    ]
    raise UserError(f"no cell matches {wanted_text}{''.join(hints)}")


def _values(wanted: Any) -> list[Any]:
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        return [wanted]
    return list(wanted)
