"""The two sides of a comparison: cells, rows of the matrix, or stores; and their cells in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from stn_cluster.errors import UserError, error_line, unknown
from stn_cluster.grid import NO_TRAINING
from stn_cluster.paths import user_path
from stn_cluster.report.table import current_cells
from stn_cluster.report.untrained import with_untrained
from stn_cluster.store import Store, matching, redact

Row = Mapping[str, Any]  # a row of `cells`
Place = tuple[str, str]  # data set and label

_KEY = re.compile("[0-9a-f]{16}")
_LABEL = re.compile("[^/]+/[^/]+/[^/]+/seed[0-9]+")
_ROW = re.compile("[^/]+/[^/]+")
_MOST_NAMES = 40  # names that an error lists


class Kind(StrEnum):
    """What is compared."""

    CELLS = "cells"
    ROWS = "rows"
    STORES = "stores"


@dataclass(frozen=True, eq=False)
class Pair:
    """Cells to compare: one of each side, or those of all seeds of an entry of the matrix."""

    name: str  # 'ST-CNN/tps/RTS/seed0', or the distortion of two rows
    a: Sequence[Row]
    b: Sequence[Row]


@dataclass(frozen=True, eq=False)
class Sides:
    """All pairs of two sides, and what has no partner."""

    kind: Kind
    store_a: Store
    store_b: Store
    pairs: Sequence[Pair]
    only_a: Sequence[str] = ()  # labels of cells that B does not have
    only_b: Sequence[str] = ()
    failed_a: Sequence[str] = ()  # labels of cells that B has and that failed in A
    failed_b: Sequence[str] = ()
    lost: Sequence[str] = ()  # those of `only_a` that have a result


def find_sides(a: str, b: str, store: str | None, filters: Mapping[str, Any]) -> Sides:
    """Finds what two texts name, and pairs their cells.

    Args:
        a: a store (folder or URI), a cell (key or label), or a row of the matrix (MODEL/TRANSFORM).
        b: another one of the same kind.
        store: the store of cells and rows.
        filters: see `stn_cluster.load_results`; they narrow both sides.

    Raises:
        UserError: a text names nothing, or several cells; or they cannot be paired.
        StoreError: a store cannot be read.
    """
    kind, other = _kind(a), _kind(b)
    if kind is not other:
        raise UserError(f"{redact(a)} and {redact(b)}: {kind} and {other} cannot be compared")
    if kind is Kind.STORES:
        if store is not None:
            raise UserError("--store: goes with cells and rows, not with two stores")
        return _stores(_opened(a), _opened(b), filters)
    if store is None:
        raise UserError(
            f"--store: name the store of these {kind}, as in --store results/quickstart"
        )
    opened = _opened(store)
    results = opened.results()
    if kind is Kind.ROWS:
        results = results.assign(trained=results["recipe"] != NO_TRAINING)
        results = with_untrained(results, alone=True)
    rows = current_cells(matching(results, filters)).sort_index()
    if kind is Kind.ROWS:
        return _rows(a, b, rows, opened)
    cells = [_cell(text, rows, opened) for text in (a, b)]
    name = " and ".join(dict.fromkeys(cell["label"] for cell in cells))
    return Sides(kind, opened, opened, [Pair(name, cells[:1], cells[1:])])


def _kind(text: str) -> Kind:
    if "://" in text or (text and (user_path(text) / "cells").is_dir()):
        return Kind.STORES
    if _KEY.fullmatch(text) or _LABEL.fullmatch(text):
        return Kind.CELLS
    if text and user_path(text).exists():
        return Kind.STORES
    if _ROW.fullmatch(text):
        return Kind.ROWS
    raise UserError(
        f"{text!r}: neither a store (there is no such folder), a key (16 hex digits), a label (as "
        "in ST-CNN/tps/RTS/seed0) nor a row (as in ST-CNN/tps)"
    )


def _opened(uri: str) -> Store:
    store = Store.open(uri)
    store.check()
    return store


def _records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _cell(text: str, rows: pd.DataFrame, store: Store) -> Row:
    """The one succeeded cell that a key or a label names."""
    by_key = bool(_KEY.fullmatch(text))
    found = _records(rows[rows["key" if by_key else "label"] == text])
    if not found:
        names = rows["label"].unique().tolist()
        raise UserError(f"{store.name}: {_unknown('cell', text, [] if by_key else names)}")
    if len(found) > 1:
        several = "; ".join(f"{row['dataset']}, {row['recipe']}: {row['key']}" for row in found)
        raise UserError(
            f"{store.name}: {text} names several cells: narrow them with --dataset or --recipe, or "
            f"name a key ({several})"
        )
    if found[0]["status"] != "succeeded":
        reason = error_line(str(found[0]["error"] or ""))
        raise UserError(f"{store.name}: {text} has no result: failed: {reason}")
    return found[0]


def _rows(a: str, b: str, rows: pd.DataFrame, store: Store) -> Sides:
    """The entries of two rows of the matrix, by data set, recipe and distortion."""
    names = (rows["model"] + "/" + rows["transform"]).astype(str)
    for text in (a, b):
        if not (names == text).any():
            raise UserError(f"{_unknown('row', text, names.unique().tolist())}; nor is it a folder")
    of_a, of_b = (_by_column(rows[names == text]) for text in (a, b))
    done_a, done_b = (_by_column(rows[(names == text) & _succeeded(rows)]) for text in (a, b))
    common = [column for column in done_a if column in done_b]
    if not common:
        raise UserError(f"{a} and {b}: no distortion has results of both")
    several = len({column[:2] for column in common}) > 1
    only_a, only_b, failed_a, failed_b, lost = [], [], [], [], []
    for column in dict.fromkeys([*of_a, *of_b]):
        one, other = of_a.get(column, []), of_b.get(column, [])
        alone = _partnerless(one, other)
        only_a += [_cell_name(row, several) for row in alone]
        lost += [_cell_name(row, several) for row in alone if row["status"] == "succeeded"]
        only_b += [_cell_name(row, several) for row in _partnerless(other, one)]
        failed_a += [_cell_name(row, several) for row in _failed(one, other)]
        done = [row for row in one if row["status"] == "succeeded"]
        failed_b += [_cell_name(row, several) for row in _failed(other, done)]
    return Sides(
        Kind.ROWS,
        store,
        store,
        [
            Pair(", ".join(column) if several else column[2], done_a[column], done_b[column])
            for column in common
        ],
        only_a,
        only_b,
        failed_a,
        failed_b,
        lost,
    )


def _succeeded(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["status"] == "succeeded"


def _by_column(rows: pd.DataFrame) -> dict[tuple[str, str, str], list[Row]]:
    """Rows by data set, recipe and distortion."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in _records(rows):
        found.setdefault((row["dataset"], row["recipe"], row["distortion"]), []).append(row)
    return found


def _partnerless(these: Sequence[Row], those: Sequence[Row]) -> list[Row]:
    """Cells of a column whose seed the other side lacks.

    A network that was not trained is the same whatever the seed.
    """
    if these and those and not (these[0]["trained"] and those[0]["trained"]):
        return []
    seeds = {row["seed"] for row in those}
    return [row for row in these if row["seed"] not in seeds]


def _failed(these: Sequence[Row], those: Sequence[Row]) -> list[Row]:
    """Failed cells of a column that have a partner."""
    alone = {row["key"] for row in _partnerless(these, those)}
    return [row for row in these if row["status"] != "succeeded" and row["key"] not in alone]


def _cell_name(row: Row, several: bool) -> str:
    return f"{row['label']} ({row['dataset']}, {row['recipe']})" if several else str(row["label"])


def _stores(a: Store, b: Store, filters: Mapping[str, Any]) -> Sides:
    """Cells of two stores, by data set and label."""
    chosen = (current_cells(store.results(filters=filters)).sort_index() for store in (a, b))
    of_a, of_b = map(_by_label, chosen)
    several = len({dataset for dataset, _ in (*of_a, *of_b)}) > 1
    pairs, failed_a, failed_b = [], [], []
    met: set[str] = set()  # keys
    for place, rows in of_a.items():
        for name, row, other in _same_cells(place, rows, of_b.get(place, {}), several):
            met |= {row["key"], other["key"]}
            if row["status"] != "succeeded":
                failed_a.append(name)
            elif other["status"] != "succeeded":
                failed_b.append(name)
            else:
                pairs.append(Pair(name, [row], [other]))
    if not pairs:
        reason = f"; failed in B: {', '.join(failed_b)}" if failed_b else ""
        raise UserError(f"{a.name} and {b.name}: no cell has results in both stores{reason}")
    return Sides(
        Kind.STORES,
        a,
        b,
        pairs,
        only_a=_unmet(of_a, of_b, met, several),
        only_b=_unmet(of_b, of_a, met, several),
        failed_a=failed_a,
        failed_b=failed_b,
        lost=_unmet(of_a, of_b, met, several, status="succeeded"),
    )


def _unmet(
    these: Mapping[Place, Mapping[str, Row]],
    those: Mapping[Place, object],
    met: set[str],
    several: bool,
    status: str | None = None,
) -> list[str]:
    """Names of cells without a partner, with the recipe where the other store has another one.

    With a status, of those that have it.
    """
    return [
        _name(place, recipe if place in those else None, several)
        for place, rows in these.items()
        for recipe, row in rows.items()
        if row["key"] not in met and status in (None, row["status"])
    ]


def _name(place: Place, recipe: str | None, several: bool) -> str:
    """A label, with the data set if there are several, and the recipe if one is given."""
    dataset, label = place
    if recipe is not None:
        return f"{label} ({dataset}, {recipe})"
    return f"{label} ({dataset})" if several else label


def _by_label(rows: pd.DataFrame) -> dict[Place, dict[str, Row]]:
    """Rows by data set and label, then by recipe."""
    found: dict[Place, dict[str, Row]] = {}
    for row in _records(rows):
        found.setdefault((row["dataset"], row["label"]), {})[row["recipe"]] = row
    return found


def _same_cells(
    place: Place, a: Mapping[str, Row], b: Mapping[str, Row], several: bool
) -> Iterable[tuple[str, Row, Row]]:
    """Pairs of one data set and label: those of the same recipe, or else the only ones."""
    dataset, label = place
    common = [recipe for recipe in a if recipe in b]
    if common:
        for recipe in common:
            name = _name(place, recipe if len(common) > 1 else None, several)
            yield name, a[recipe], b[recipe]
    elif len(a) == len(b) == 1:
        yield _name(place, None, several), next(iter(a.values())), next(iter(b.values()))
    elif b:
        recipes = f"{', '.join(a)} in A; {', '.join(b)} in B"
        raise UserError(f"{label} ({dataset}) has several recipes ({recipes}): name --recipe")


def _unknown(what: str, text: str, names: Sequence[str]) -> str:
    if not names or len(names) > _MOST_NAMES:
        hint = unknown(what, text, names).partition("allowed:")[0].rstrip()
        return f"{hint.rstrip(':')}: `stn-cluster results` lists what there is"
    return unknown(what, text, names)
