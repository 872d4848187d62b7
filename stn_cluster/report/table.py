"""The comparison table: mean and spread over the seeds of each entry, beside a reference."""

from __future__ import annotations

import os
from collections.abc import Collection
from itertools import product
from typing import Any

import pandas as pd

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.report.reference import find_reference, reference_error
from stn_cluster.store import Store, in_table_order, load_results, newest, select

COLUMNS = (
    "dataset",
    "recipe",
    "model",
    "transform",
    "distortion",
    "n_seeds",
    "test_error_mean",
    "test_error_std",
    "reference_error",
    "delta",
)

_GROUP = ["dataset", "recipe"]
_ENTRY = [*_GROUP, "model", "transform", "distortion"]
_NEEDED = [*_ENTRY, "seed", "key", "status", "test_error", "accepted_at"]


def comparison_table(
    results: str | os.PathLike[str] | Store | pd.DataFrame,
    reference: str = "paper",
    **filters: Any,
) -> pd.DataFrame:
    """One row for each entry of the matrix, of every data set and recipe apart.

    The matrix is the product of the (model, transform) rows and the distortions of what was
    submitted or is in the store; of a frame, of what is in it.

    Args:
        results: a store, its path or URI, or rows of `cells` as `load_results` gives them.
        reference: whose numbers to set beside ours: 'paper', or 'none'.
        filters: dataset, recipe, model, transform, distortion, seed, key: a value, or several;
            status (succeeded, failed, missing) is that of the table's entries.

    Returns:
        dataset, recipe, model, transform, distortion, n_seeds (succeeded ones), test_error_mean
        and test_error_std (percent; the sample's, NaN for one seed), reference_error (percent),
        delta (mean less reference), status. An entry is `failed` if no seed succeeded and one
        failed, `missing` if none has run; its numbers are NaN.

    Raises:
        UserError: an unknown reference or filter, or a filter that nothing matches.
        StoreError: there is no store, or a file in it cannot be read.
    """
    published = find_reference(reference)
    wanted_status = filters.pop("status", None)
    cells = select(_cells(results), filters)
    rows: list[dict[str, Any]] = []
    for group, members in _current(cells).groupby(_GROUP, sort=False):
        by_entry = dict(iter(members.groupby(["model", "transform", "distortion"])))
        networks = members[["model", "transform"]].drop_duplicates()
        for (model, transform), distortion in product(
            networks.itertuples(index=False, name=None), members["distortion"].unique()
        ):
            names = dict(zip(_ENTRY, (*group, model, transform, distortion), strict=True))
            numbers = _numbers(by_entry.get((model, transform, distortion), members[:0]))
            error = reference_error(published, model, transform, distortion)
            delta = numbers["test_error_mean"] - error
            status = numbers.pop("status")
            rows.append(
                {**names, **numbers, "reference_error": error, "delta": delta, "status": status}
            )
    table = pd.DataFrame(rows, columns=[*COLUMNS, "status"])
    return in_table_order(select(table, {"status": wanted_status}))


def cells_table(store: Store, cells: Collection[Cell]) -> pd.DataFrame:
    """The `comparison_table` of these cells, under the names that they have here.

    To the store a key may be another recipe's: what it is called is no part of it.

    Raises:
        StoreError: a file in the store cannot be read.
    """
    names = [*_ENTRY, "seed", "key"]
    named = pd.DataFrame([{name: getattr(cell, name) for name in names} for cell in cells])
    rows = load_results(store)[["key", "status", "test_error", "accepted_at"]]
    found = named.merge(rows, on="key", how="left")
    return comparison_table(found.fillna({"status": "missing"}))


def _cells(results: str | os.PathLike[str] | Store | pd.DataFrame) -> pd.DataFrame:
    """Each key's current row, and a row of status `missing` for a submitted one without."""
    if isinstance(results, pd.DataFrame):
        lacking = [name for name in _NEEDED if name not in results]
        if lacking:
            raise UserError(f"the frame of results lacks the columns {', '.join(lacking)}")
        return newest(results)[_NEEDED]
    store = results if isinstance(results, Store) else Store.open(results)
    rows = store.results()[_NEEDED]
    ended = set(rows["key"])
    named = set(zip(rows["key"], rows["recipe"], strict=True))
    submitted = [cell for cell in store.submitted() if (cell.key, cell.recipe) not in named]
    # Two recipes that differ for some models only share the cells of the others: they are trained
    # once, and belong to both.
    others = [(cell.key, cell.recipe) for cell in submitted if cell.key in ended]
    other_names = pd.DataFrame(others, columns=["key", "recipe"]).astype(
        rows.dtypes[["key", "recipe"]]
    )
    shared = rows.drop(columns="recipe").merge(other_names, on="key")[_NEEDED]
    missing = [
        {**{name: getattr(cell, name) for name in [*_ENTRY, "seed", "key"]}, "status": "missing"}
        for cell in submitted
        if cell.key not in ended
    ]
    absent = pd.DataFrame(missing, columns=_NEEDED).astype(rows.dtypes)
    return pd.concat([rows, shared, absent], ignore_index=True)


def _current(cells: pd.DataFrame) -> pd.DataFrame:
    """The newest key of each entry and seed: a revised recipe or component replaces the old."""
    by_time = cells.sort_values("accepted_at", kind="stable", na_position="first")
    return by_time.drop_duplicates([*_ENTRY, "seed"], keep="last")


def _numbers(seeds: pd.DataFrame) -> dict[str, Any]:
    """What the seeds of one entry come to."""
    status = set(seeds["status"])
    errors = seeds.loc[seeds["status"] == "succeeded", "test_error"]
    return {
        "n_seeds": len(errors),
        "test_error_mean": errors.mean(),
        "test_error_std": errors.std(ddof=1),
        "status": next((one for one in ("succeeded", "failed") if one in status), "missing"),
    }
