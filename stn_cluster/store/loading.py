"""Results of a store, as most people read them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from stn_cluster.store.outdated import OutdatedWarning
from stn_cluster.store.store import Store


def load_results(
    store: str | os.PathLike[str] | Store,
    *,
    columns: Sequence[str] | None = None,
    **filters: Any,
) -> pd.DataFrame:
    """Loads the current result of each cell: its newest succeeded row, or its newest failed one.

    Args:
        store: a store, or its path or URI.
        columns: only these, as those of many rows take much memory; None: all.
        filters: dataset, recipe, model, transform, distortion, seed, key, status: one value or
            several; as in `load_results("results/mnist-v1", model="ST-CNN", seed=[0, 1])`.

    Returns:
        The columns of `cells`, in the order of the table; no rows if nothing matches. Times are
        UTC, without a time zone, so that Excel takes them; confusion matrices are lists.

    Warns:
        OutdatedWarning: a plug-in's files here are not those that a result was made with.

    Raises:
        UserError: there is no such filter.
        StoreError: there is no store, or a file in it is torn, foreign or newer.
    """
    if isinstance(store, Store):
        return store.results(columns=columns, filters=filters)
    opened = Store.open(store)
    rows = opened.results(columns=columns, filters=filters)
    for line in opened.outdated(lambda: opened.results(columns=["key"], filters=filters)["key"]):
        warnings.warn(line, OutdatedWarning, stacklevel=2)
    return rows
