"""A trained cell of a store, found by its label or key."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import ValidationError

from stn_cluster.errors import NotFoundError, StoreError, UserError, error_line, unknown
from stn_cluster.grid import Cell
from stn_cluster.registry import with_present_name
from stn_cluster.store import Store, is_published, newest, rerun_command, select


@dataclass(frozen=True)
class StoredCell:
    """A cell that has been trained."""

    cell: Cell
    attempt: str
    n_classes: int
    class_names: tuple[str, ...] | None  # by class; None: a class is its number


def find_cell(
    store: Store, name: str, seed: int | None, attempt: str | None, filters: dict[str, Any]
) -> StoredCell:
    """Finds the current result of a cell, or that of one of its attempts.

    Args:
        store: the result store.
        name: key of the cell; or its label, with or without the seed.
        seed: of several with this label.
        attempt: id of an attempt; None: the newest one that succeeded.
        filters: as in `load_results`, where cells of several data sets or recipes have this label.

    Raises:
        NotFoundError: there is none, or it has not been trained; the message says what trains it.
        UserError: several cells are meant.
        StoreError: a file in the store cannot be read.
    """
    rows = store.results(latest=False)
    found = rows[(rows["key"] == name) | _labelled(rows, name)]
    if found.empty:
        raise _unknown_cell(store, name, rows)
    wanted = {"seed": seed, **filters}
    found = select(found, {field: value for field, value in wanted.items() if value is not None})
    if attempt is not None:
        found = found[found["attempt"] == attempt]
        if found.empty:
            raise NotFoundError(f"{store.name}: {name} has no attempt {attempt!r}")
    row = _only(newest(found), name)
    if row["status"] != "succeeded":
        reason = error_line(row["error"] or "")
        raise NotFoundError(f"{row['label']} failed ({reason}); {training(store, row['key'])}")
    return _stored(store, row)


def training(store: Store, key: str) -> str:
    """Advice about weights that are not here: the command that trains the cell."""
    return f"this trains it: {rerun_command(store.name, key, is_published(store.uri))}"


def no_weights(store: Store, cell: Cell) -> NotFoundError:
    """Error about weights that are not here: it has the command that trains the cell."""
    return NotFoundError(
        f"{store.name}: the weights of {cell.label} are not here; {training(store, cell.key)}"
    )


def _labelled(rows: pd.DataFrame, name: str) -> pd.Series[bool]:
    without_seed = rows["label"].map(lambda label: label.rpartition("/")[0])
    return (rows["label"] == name) | (without_seed == name)


def _only(rows: pd.DataFrame, name: str) -> dict[Any, Any]:
    """The row that is meant; of one entry's keys, as of a revised recipe, the newest."""
    entry = ["dataset", "recipe", "model", "transform", "distortion", "seed"]
    rows = rows.sort_values("accepted_at", kind="stable").drop_duplicates(entry, keep="last")
    if len(rows) > 1:
        differ = [field for field in ("dataset", "recipe", "seed") if rows[field].nunique() > 1]
        choices = [
            ", ".join(f"{field}={row[field]!r}" for field in differ)
            for row in rows.sort_values(differ).to_dict("records")
        ]
        raise UserError(f"{name}: which of {'; '.join(choices)}?")
    return rows.to_dict("records")[0]


def _unknown_cell(store: Store, name: str, rows: pd.DataFrame) -> NotFoundError:
    waiting = {cell.key: cell.label for cell in store.submitted()}
    for key, label in waiting.items():
        if name in (key, label, label.rpartition("/")[0]):
            return NotFoundError(f"{label} has not been trained; {training(store, key)}")
    labels = {*rows["label"], *waiting.values()}
    near = unknown("cell", name, labels).partition("allowed")[0].rstrip()
    return NotFoundError(f"{store.name}: {near} give a label, as in ST-CNN/tps/RTS/seed0, or a key")


def _stored(store: Store, row: dict[Any, Any]) -> StoredCell:
    try:
        cell = with_present_name(Cell.model_validate_json(row["spec"]))
    except ValidationError as error:
        raise StoreError(
            f"{store.name}: the spec of {row['label']} cannot be read: {error}"
        ) from error
    sets = store.read("test_sets", columns=["test_set", "labels", "class_names"]).to_pylist()
    [test_set] = [found for found in sets if found["test_set"] == cell.test_set] or [{}]
    names = test_set.get("class_names")
    counts = row["confusion"]
    n_classes = math.isqrt(len(counts)) if counts is not None else cell.data.n_classes
    if n_classes is None:
        n_classes = len(names) if names else max(test_set.get("labels", [0])) + 1
    return StoredCell(cell, row["attempt"], n_classes, tuple(names) if names else None)
