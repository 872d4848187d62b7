"""Order of rows of `cells`: the newest of each key, and the table's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.grid import (
    PAPER_DISTORTIONS,
    PAPER_MODELS,
    PAPER_TRANSFORMS,
    base_distortion,
)

# Columns that the table's order is made of, the first one first.
TABLE_ORDER = ("dataset", "recipe", "model", "transform", "distortion", "seed", "accepted_at")

_PAPER_ORDER = {
    "model": PAPER_MODELS,
    "transform": PAPER_TRANSFORMS,
    "distortion": PAPER_DISTORTIONS,
}


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


def order_of(rows: pa.Table, latest: bool) -> NDArray[np.intp]:
    """Positions of stored rows in the table's order.

    Args:
        rows: with the columns of TABLE_ORDER, and `status`.
        latest: whether of rows that are equal in it, those that failed come first.
    """
    ranks = [_stored_ranks(name, rows[name]) for name in TABLE_ORDER]
    return np.lexsort([*([succeeded(rows)] if latest else []), *ranks[::-1]])


def newest_of(rows: pa.Table) -> NDArray[np.intp]:
    """Like `newest_rows`, of stored rows with `key`, `status` and `accepted_at`."""
    keys = rows["key"].combine_chunks().dictionary_encode(null_encoding="encode")
    return newest_rows(keys.indices.to_numpy(), succeeded(rows), times(rows["accepted_at"]))


def succeeded(rows: pa.Table) -> NDArray[np.bool_]:
    """Whether each stored row is of a cell that succeeded."""
    found: NDArray[np.bool_] = pc.equal(rows["status"], "succeeded").fill_null(False).to_numpy()
    return found


def times(values: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Stored times, in UTC."""
    found: NDArray[np.datetime64] = values.cast(pa.timestamp("us")).to_numpy()
    return found


def _ranks(column: pd.Series[Any]) -> NDArray[Any]:
    """Numbers in the order of a column's values, or their times; missing values come last."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuM":
        return column.to_numpy()
    codes, values = pd.factorize(column)
    return _places(str(column.name), list(values))[codes]


def _stored_ranks(name: str, values: pa.ChunkedArray) -> NDArray[Any]:
    """See `_ranks`."""
    if pa.types.is_timestamp(values.type):
        return times(values)
    if values.type != pa.string():
        numbers: NDArray[Any] = values.to_numpy()
        return numbers
    encoded = values.combine_chunks().dictionary_encode()
    codes: NDArray[Any] = encoded.indices.fill_null(-1).to_numpy()
    places: NDArray[Any] = _places(name, encoded.dictionary.to_pylist())[codes]
    return places


def _places(name: str, values: Sequence[Any]) -> NDArray[np.intp]:
    """Place of each of a few different values in the order of a column, and that of a missing one,
    whose number is -1."""
    order = sorted(range(len(values)), key=lambda i: _rank(name, values[i]))
    places = np.empty(len(values) + 1, np.intp)
    places[order], places[-1] = np.arange(len(values)), len(values)
    return places


def _rank(column: str, value: Any) -> Any:
    if column not in _PAPER_ORDER:
        return value
    known = _PAPER_ORDER[column]
    base = base_distortion(value)  # 'P:xy' follows 'P'
    return (known.index(base) if base in known else len(known), value)
