"""Filters of rows: by the values of some columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stn_cluster.errors import UserError, storable, unknown
from stn_cluster.grid import CELL_FILTERS, listed

# Columns that rows can be filtered by: equal to a value, or one of several.
FILTERS = (*CELL_FILTERS, "status")


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
    return {name: listed(wanted) for name, wanted in filters.items() if wanted is not None}


def matches(frame: pd.DataFrame, used: Mapping[str, list[Any]]) -> NDArray[np.bool_]:
    """Whether each row has one of the wanted values in every filtered column."""
    found = np.ones(len(frame), bool)
    for name, values in used.items():
        found &= frame[name].isin(values).to_numpy(bool)
    return found


def stored_matches(rows: pa.Table, used: Mapping[str, list[Any]]) -> NDArray[np.bool_]:
    """Like `matches`, of stored rows."""
    found = np.ones(len(rows), bool)
    for name, values in used.items():
        column = rows[name]
        if column.type == pa.string():
            texts = [v for v in values if isinstance(v, str) and v == storable(v)]
            wanted = pa.array(map(str.__str__, texts), pa.string())
            found &= pc.is_in(column, wanted).to_numpy()
        else:
            found &= pd.Series(column.to_numpy()).isin(values).to_numpy(bool)
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
