"""The comparison table: mean and spread over the seeds of each entry, and a reference."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from itertools import product
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.paths import user_path
from stn_cluster.report.reference import find_reference, reference_error
from stn_cluster.report.untrained import with_untrained
from stn_cluster.store import OutdatedWarning, Store, in_table_order, newest, select

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

_MISSING = {
    "n_seeds": 0,
    "test_error_mean": np.nan,
    "test_error_std": np.nan,
    "status": "missing",
}


class Named(Protocol):
    """A cell, or its names alone."""

    @property
    def key(self) -> str:
        """See `Cell.key`."""


class ComparisonTable(pd.DataFrame):
    """The rows of the table, which a notebook shows as people read it: as matrices.

    Whatever is selected or computed from it is a plain DataFrame.
    """

    def _repr_html_(self) -> str | None:
        from stn_cluster.report.render import html_matrices

        if not {*COLUMNS, "status"} <= set(self.columns):
            shown: str | None = pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
            return shown
        return html_matrices(self)


def comparison_table(
    results: str | os.PathLike[str] | Store | pd.DataFrame,
    reference: str = "paper",
    *,
    interval: bool = False,
    correction: str = "holm",
    data_root: str | os.PathLike[str] | None = None,
    **filters: Any,
) -> ComparisonTable:
    """Computes the comparison table: one row per entry of the matrix.

    There is one matrix per data set and recipe: the product of the (model, transform) pairs and the
    distortions of all cells that were submitted or are in the store (or in the frame). A model that
    was evaluated and not trained stands in every matrix of its data set.

    Args:
        results: a store, its path or URI, or rows of `cells` from `load_results`.
        reference: numbers to compare ours with: 'paper' or 'none'.
        interval: adds intervals, and marks for what cannot be told from a column's best; needs the
            store, as they need its predictions. See `interval_table.add_intervals` for the columns.
        correction: of these marks for many comparisons: 'holm' or 'benjamini-hochberg'.
        data_root: folder of data files, for a store without labels.
        filters: dataset, recipe, model, transform, distortion, seed, key: one value or several;
            status (succeeded, failed, missing) filters the table's entries.

    Returns:
        dataset, recipe, model, transform, distortion, n_seeds (succeeded ones), test_error_mean
        and test_error_std (percent; the sample's, NaN for one seed), reference_error (percent),
        delta (mean minus reference), status. An entry is `failed` if no seed succeeded and one
        failed, `missing` if none has run; its numbers are NaN.

    Warns:
        OutdatedWarning: see `load_results`.

    Raises:
        UserError: an unknown reference, filter or correction, or no cell matches the filters.
        StoreError: there is no store, or a file in it cannot be read.
    """
    if interval and isinstance(results, pd.DataFrame):
        raise UserError("intervals and marks need a store: rows alone have no predictions")
    if not isinstance(results, Store | pd.DataFrame):
        results = store = Store.open(results)
        for line in store.outdated(lambda: shown_keys(store, **filters)):
            warnings.warn(line, OutdatedWarning, stacklevel=2)
    wanted_status = filters.pop("status", None)
    cells = current_cells(_wanted(results, filters))
    return table_of_cells(
        cells,
        results if interval and isinstance(results, Store) else None,
        reference,
        status=wanted_status,
        correction=correction,
        data_root=data_root,
    )


def table_of_cells(
    cells: pd.DataFrame,
    store: Store | None,
    reference: str = "paper",
    *,
    status: Any = None,
    correction: str = "holm",
    data_root: str | os.PathLike[str] | None = None,
) -> ComparisonTable:
    """Computes the `comparison_table` of cells, each once.

    Args:
        cells: from `cells_of_table`.
        store: where their predictions are, for intervals and marks; None: without them.
        reference: see `comparison_table`, as the next two.
        status: only entries with this status, or one of these.
        correction, data_root: see `comparison_table`.
    """
    published = find_reference(reference)
    rows: list[dict[str, Any]] = []
    for group, entries in _entries(cells).items():
        networks = dict.fromkeys(names[:2] for names in entries)
        distortions = dict.fromkeys(names[2] for names in entries)
        for (model, transform), distortion in product(networks, distortions):
            names = dict(zip(_ENTRY, (*group, model, transform, distortion), strict=True))
            numbers = entries.get((model, transform, distortion), _MISSING)
            error = reference_error(published, model, transform, distortion)
            delta = numbers["test_error_mean"] - error
            rows.append({**names, **numbers, "reference_error": error, "delta": delta})
    table = pd.DataFrame(rows, columns=[*COLUMNS, "status"])
    table = in_table_order(select(table, {"status": status}))
    if store is not None:
        from stn_cluster.report.interval_table import add_intervals

        root = None if data_root is None else user_path(data_root)
        table = add_intervals(table, store, cells, correction, root)
    found = ComparisonTable(table)
    found.attrs.update(table.attrs)
    return found


def cells_of_table(results: Store | pd.DataFrame, **filters: Any) -> pd.DataFrame:
    """Cells that a `comparison_table` is made of: one for each entry and seed, the missing ones
    too.

    Args:
        results: see `comparison_table`.
        filters: its filters of cells.

    Returns:
        dataset, recipe, model, transform, distortion, seed, key, status (succeeded, failed or
        missing), test_error (percent), accepted_at.
    """
    return current_cells(_wanted(results, filters))


def shown_keys(store: Store, **filters: Any) -> list[str]:
    """Keys of the results that a `comparison_table` with these filters shows."""
    cells = {name: wanted for name, wanted in filters.items() if name != "status"}
    keys: list[str] = current_cells(_wanted(store, cells))["key"].unique().tolist()
    return keys


def cells_table(store: Store, cells: Collection[Cell]) -> ComparisonTable:
    """Computes the `comparison_table` of these cells, with their own names.

    Raises:
        StoreError: a file in the store cannot be read.
    """
    return comparison_table(with_results(store, cells))


def with_results(store: Store, cells: Collection[Named]) -> pd.DataFrame:
    """Cells with their results, those without one being `missing`: see `cells_of_table`.

    The store may have a key under another recipe's name, as the name is not part of the key.

    Args:
        store: the store.
        cells: with the names and the key of a `Cell`.

    Raises:
        StoreError: a file in the store cannot be read.
    """
    names = [*_ENTRY, "seed", "key"]
    cell_names = pd.DataFrame(
        [{name: getattr(cell, name) for name in names} for cell in cells], columns=names
    )
    rows = store.results(columns=["key", "status", "test_error", "accepted_at"])
    found = cell_names.merge(rows, on="key", how="left")
    return found.fillna({"status": "missing"})


def _cells(results: Store | pd.DataFrame) -> pd.DataFrame:
    """Current row of each key, and a row of status `missing` for submitted keys without one."""
    if isinstance(results, pd.DataFrame):
        lacking = [name for name in _NEEDED if name not in results]
        if lacking:
            raise UserError(f"the frame of results lacks the columns {', '.join(lacking)}")
        return newest(results)[_NEEDED]
    rows = results.results(columns=_NEEDED)
    cells = results.submitted()
    if not cells:
        return rows
    of_these = rows[rows["key"].isin([cell.key for cell in cells])]
    ended = set(of_these["key"])
    present = set(zip(of_these["key"], of_these["recipe"], strict=True))
    submitted = [cell for cell in cells if (cell.key, cell.recipe) not in present]
    # Recipes that differ only for some models share the cells of other models, which are trained
    # once and belong to both recipes.
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


def _wanted(results: Store | pd.DataFrame, filters: dict[str, Any]) -> pd.DataFrame:
    """Cells that match the filters, those without training in every matrix of their data set."""
    named = filters.get("recipe") is not None
    return select(with_untrained(_cells(results), alone=named), filters)


def current_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Newest key of each entry and seed: a revised recipe or component replaces the old one."""
    by_time = cells.sort_values("accepted_at", kind="stable", na_position="first")
    return by_time.drop_duplicates([*_ENTRY, "seed"], keep="last")


def _entries(
    cells: pd.DataFrame,
) -> dict[tuple[str, str], dict[tuple[str, str, str], dict[str, Any]]]:
    """Numbers of each entry, by data set and recipe, then by model, transform and distortion.

    Its cells are slices of arrays, as a frame for each of ten thousand entries takes half a minute.
    """
    number = cells.groupby(_ENTRY, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(number, return_index=True)[1]
    order = np.argsort(number, kind="stable")  # the cells of an entry stay in their order
    status = cells["status"].to_numpy()[order]
    succeeded, failed = status == "succeeded", status == "failed"
    errors = cells["test_error"].to_numpy(float)[order]
    tested = succeeded & ~np.isnan(errors)
    ends = np.bincount(number).cumsum()[:-1]
    found: dict[Any, dict[Any, dict[str, Any]]] = {}
    for names, n_seeds, any_failed, of_seeds in zip(
        cells[_ENTRY].iloc[first].itertuples(index=False, name=None),
        _sums(succeeded, ends),
        _sums(failed, ends),
        np.split(errors[tested], tested.cumsum()[ends - 1]) if len(order) else (),
        strict=True,
    ):
        status_of_entry = "succeeded" if n_seeds else "failed" if any_failed else "missing"
        found.setdefault(names[:2], {})[names[2:]] = {
            "n_seeds": n_seeds,
            "test_error_mean": of_seeds.mean() if len(of_seeds) else np.nan,
            "test_error_std": of_seeds.std(ddof=1) if len(of_seeds) > 1 else np.nan,
            "status": status_of_entry,
        }
    return found


def _sums(values: NDArray[np.bool_], ends: NDArray[np.intp]) -> list[int]:
    """Sums of the parts of an array, which end where the next ones begin."""
    if not len(values):
        return []
    sums: list[int] = np.add.reduceat(values.astype(int), [0, *ends]).tolist()
    return sums
