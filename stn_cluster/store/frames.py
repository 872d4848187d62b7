"""Rows of `cells` as a DataFrame: the current ones, the table's order, filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import (
    CELL_FILTERS,
    PAPER_DISTORTIONS,
    PAPER_MODELS,
    PAPER_TRANSFORMS,
    base_distortion,
)

# Columns that rows can be filtered by: equal to a value, or one of several.
FILTERS = (*CELL_FILTERS, "status")

_MAY_BE_ABSENT = ("n_test", "n_wrong", "parameters", "iterations", "pack_size")
_ORDER = ("dataset", "recipe", "model", "transform", "distortion", "seed", "accepted_at")
_PAPER_ORDER = {
    "model": PAPER_MODELS,
    "transform": PAPER_TRANSFORMS,
    "distortion": PAPER_DISTORTIONS,
}


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of `cells` as a DataFrame that every writer of pandas can write.

    Counts stay integers even if some are missing. Times are UTC without a time zone, which Excel
    has no place for. A confusion matrix is a list, as NumPy abbreviates the text of a long array.
    """
    frame: pd.DataFrame = rows.to_pandas()
    for name in frame:
        if isinstance(frame[name].dtype, pd.DatetimeTZDtype):
            frame[name] = frame[name].dt.tz_convert(None)
    if "confusion" in frame:
        lists = [None if counts is None else counts.tolist() for counts in frame["confusion"]]
        frame["confusion"] = pd.Series(lists, index=frame.index, dtype=object)
    return frame.astype({name: "Int64" for name in _MAY_BE_ABSENT if name in frame})


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    """Newest succeeded row of each key, or its newest failed one; newest by `accepted_at`."""
    ranked = frame.assign(succeeded=frame["status"] == "succeeded")
    ranked = ranked.sort_values(["succeeded", "accepted_at"], kind="stable")
    return ranked.drop_duplicates("key", keep="last").drop(columns="succeeded")


def in_table_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Sorts rows by data set, recipe, model, transform, distortion, seed and time of acceptance.

    The paper's names come first, in the paper's order, then others by name.
    """
    names = [name for name in _ORDER if name in frame]
    rows = frame[names].itertuples(index=False, name=None)
    ranks = [
        tuple(_rank(name, value) for name, value in zip(names, row, strict=True)) for row in rows
    ]
    positions = sorted(range(len(ranks)), key=ranks.__getitem__)
    return frame.iloc[positions].reset_index(drop=True)


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
    for name, wanted in filters.items():
        if name not in FILTERS:
            raise UserError(unknown("filter", name, FILTERS))
        if wanted is not None:
            frame = frame[frame[name].isin(_values(wanted))]
    return frame.reset_index(drop=True)


def select(frame: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """Like `matching`, but an error if no row matches.

    Raises:
        UserError: there is no such filter, or no row matches; the message names the filters and,
            for those that match nothing even on their own, the existing values.
    """
    rows = matching(frame, filters)
    used = {name: _values(wanted) for name, wanted in filters.items() if wanted is not None}
    if len(rows) or not used:
        return rows
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
