"""Comparison of two cells, two rows of the matrix, or two stores, on the same test images."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stn_cluster.errors import UserError
from stn_cluster.paths import user_path
from stn_cluster.report.grading import GradedCell, Grades, grade
from stn_cluster.report.sides import Kind, Pair, Row, Sides, find_sides
from stn_cluster.report.statistics.questions import METHOD_SEEDS, Question
from stn_cluster.store import OutdatedWarning, Store

if TYPE_CHECKING:
    from stn_cluster.report.statistics.intervals import Wrong

# Fields of a spec that do not determine a result.
_NOT_COMPARED = {"cost", "needs", "plugins"}
_REVISION = "revisions."
# Columns of `cells` that may explain a difference between equal specs.
_CIRCUMSTANCES = ("device", "torch_version", "stn_cluster_version")


@dataclass(frozen=True)
class PairResult:
    """B less A on the same test images; errors and differences in percent and points."""

    name: str
    a: str  # label; for rows 'ST-CNN/tps/RTS'
    b: str
    dataset: str
    seeds: tuple[int, ...]  # that both have, if they are paired; else those of A
    n: int  # test images
    base_images: int
    error_a: float
    error_b: float
    only_a: tuple[int, ...]  # images that only A gets (with every one of its seeds)
    only_b: tuple[int, ...]
    n_only_a: int  # b of McNemar's table: images that A gets more often
    n_only_b: int  # c
    difference: float
    low: float
    high: float
    level: float  # confidence of the interval: higher if there are several pairs
    p: float  # of this pair alone
    question: Question
    test: str
    specs: Mapping[str, tuple[Any, Any]]  # fields in which they differ; None: at its default
    same_result: bool = False  # both sides are the same attempts: nothing is compared

    @property
    def note(self) -> str:
        """What this comparison cannot say, or ''."""
        if self.question is Question.METHODS:
            return ""
        count = len(self.seeds)
        return f"{count} {'seed says' if count == 1 else 'seeds say'} nothing about the methods"


@dataclass(frozen=True)
class Comparison:
    """All pairs of two sides."""

    kind: Kind
    a: str
    b: str
    pairs: tuple[PairResult, ...]
    only_in_a: tuple[str, ...] = ()  # labels of cells without a partner
    only_in_b: tuple[str, ...] = ()
    failed_in_a: tuple[str, ...] = ()
    failed_in_b: tuple[str, ...] = ()
    lost_in_b: tuple[str, ...] = ()  # those of `only_in_a` that have a result

    def worse(self, points: float) -> tuple[PairResult, ...]:
        """Pairs in which B is worse than A by more than `points`, as far as their intervals tell.

        The intervals of several pairs hold all at once.
        """
        return tuple(pair for pair in self.pairs if pair.low > points)


def compare(
    a: str,
    b: str,
    *,
    store: str | None = None,
    data_root: str | Path | None = None,
    **filters: Any,
) -> Comparison:
    """Compares two sides on the same test images.

    Args:
        a: a store (folder or URI), a cell (key or label), or a row of the matrix (MODEL/TRANSFORM).
        b: another one of the same kind. Cells of stores are paired by data set and label.
        store: the store of cells and rows.
        data_root: folder of data files, for stores without labels.
        filters: dataset, recipe, model, transform, distortion, seed, key: they narrow both sides.

    Warns:
        OutdatedWarning: see `load_results`.

    Raises:
        UserError: a side names nothing or several cells; they were tested on different images; or
            there are no labels.
        StoreError: a store cannot be read.
    """
    from stn_cluster.report.statistics.multiple import bonferroni_level  # SciPy loads slowly

    sides = find_sides(a, b, store, filters)
    level = bonferroni_level(len(sides.pairs))
    for line in _outdated(sides):
        warnings.warn(line, OutdatedWarning, stacklevel=2)
    root = None if data_root is None else user_path(data_root)
    of_a = _grades(sides.store_a, [row for pair in sides.pairs for row in pair.a], root)
    of_b = _grades(sides.store_b, [row for pair in sides.pairs for row in pair.b], root)
    return Comparison(
        sides.kind,
        *_names(sides, a, b),
        tuple(_result(pair, sides.kind, of_a, of_b, level) for pair in sides.pairs),
        tuple(sides.only_a),
        tuple(sides.only_b),
        tuple(sides.failed_a),
        tuple(sides.failed_b),
        tuple(sides.lost),
    )


def _outdated(sides: Sides) -> list[str]:
    """Lines on results of the sides that are of an older version of a plug-in."""
    of_a = [row["key"] for pair in sides.pairs for row in pair.a]
    of_b = [row["key"] for pair in sides.pairs for row in pair.b]
    if sides.kind is not Kind.STORES:
        return sides.store_a.outdated(lambda: dict.fromkeys([*of_a, *of_b]))
    return [
        *(f"{sides.store_a.name}: {line}" for line in sides.store_a.outdated(lambda: of_a)),
        *(f"{sides.store_b.name}: {line}" for line in sides.store_b.outdated(lambda: of_b)),
    ]


def _names(sides: Sides, a: str, b: str) -> tuple[str, str]:
    if sides.kind is Kind.STORES:
        return sides.store_a.name, sides.store_b.name
    if sides.kind is Kind.CELLS:
        (pair,) = sides.pairs
        return pair.a[0]["label"], pair.b[0]["label"]
    return a, b


def _grades(store: Store, rows: Sequence[Row], data_root: Path | None) -> Grades:
    return grade(store, pd.DataFrame(list(rows)), data_root)


def _result(pair: Pair, kind: Kind, of_a: Grades, of_b: Grades, level: float) -> PairResult:
    from stn_cluster.report.statistics.methods import compare_methods
    from stn_cluster.report.statistics.paired import compare_networks

    a = {int(row["seed"]): of_a.find(row["key"], row["label"]) for row in pair.a}
    b = {int(row["seed"]): of_b.find(row["key"], row["label"]) for row in pair.b}
    _check_images([*a.values()], [*b.values()])
    if kind is Kind.ROWS:  # a network that was not trained is the same whatever the seed
        if not pair.a[0]["trained"]:
            a = dict.fromkeys(b, next(iter(a.values())))
        if not pair.b[0]["trained"]:
            b = dict.fromkeys(a, next(iter(b.values())))
    seeds = sorted(set(a) & set(b))
    if kind is Kind.ROWS and seeds:
        a, b = ({seed: side[seed] for seed in seeds} for side in (a, b))
    wrong_a, wrong_b = (np.array([cell.wrong for cell in side.values()]) for side in (a, b))
    networks = compare_networks(wrong_a, wrong_b, level)
    methods = (
        compare_methods(wrong_a, wrong_b, level)
        if kind is Kind.ROWS and len(seeds) >= METHOD_SEEDS
        else None
    )
    found = methods or networks
    row_a, row_b = pair.a[0], pair.b[0]
    return PairResult(
        name=pair.name,
        a=_label(row_a, kind),
        b=_label(row_b, kind),
        dataset=row_a["dataset"],
        seeds=tuple(a),
        n=networks.n,
        base_images=networks.base_images,
        error_a=100 * float(wrong_a.mean()),
        error_b=100 * float(wrong_b.mean()),
        only_a=_only(wrong_a, wrong_b),
        only_b=_only(wrong_b, wrong_a),
        n_only_a=networks.b,
        n_only_b=networks.c,
        difference=100 * found.difference,
        low=100 * found.interval.low,
        high=100 * found.interval.high,
        level=level,
        p=found.p,
        question=found.question,
        test=found.test,
        specs=_differences(row_a, row_b, ignored=("seed",) if kind is Kind.ROWS else ()),
        same_result=[row["attempt"] for row in pair.a] == [row["attempt"] for row in pair.b],
    )


def _label(row: Row, kind: Kind) -> str:
    if kind is Kind.ROWS:
        return f"{row['model']}/{row['transform']}/{row['distortion']}"
    return str(row["label"])


def _check_images(a: Sequence[GradedCell], b: Sequence[GradedCell]) -> None:
    """Raises UserError unless all were tested on the same images."""
    first = a[0]
    for cell in (*a, *b):
        if (cell.test_set, cell.wrong.shape) != (first.test_set, first.wrong.shape):
            raise UserError(
                f"{first.label} and {cell.label} were tested on different images (test sets "
                f"{first.test_set} and {cell.test_set}), so that they cannot be compared"
            )


def _only(right: Wrong, lost: Wrong) -> tuple[int, ...]:
    """Images that all networks of one side get, and all of the other do not."""
    chosen = ~right.any(axis=0) & lost.all(axis=0)
    return tuple(np.flatnonzero(chosen).tolist())  # row by row: the order of the test set


def _differences(a: Row, b: Row, ignored: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Fields in which two cells differ: those of their specs, then the circumstances.

    Revisions of components that only one of them uses are left out: other fields name those.
    """
    of_a, of_b = (
        _flat(_spec(row)) | {name: row[name] for name in _CIRCUMSTANCES} for row in (a, b)
    )
    return {
        name: (of_a.get(name), of_b.get(name))
        for name in dict.fromkeys([*of_a, *of_b])
        if of_a.get(name) != of_b.get(name)
        and name not in ignored
        and not (name.startswith(_REVISION) and (name not in of_a or name not in of_b))
    }


def _spec(row: Row) -> dict[str, Any]:
    """A row's spec as it is stored, also that of another version; {} if there is none."""
    try:
        spec = json.loads(row["spec"] or "{}")
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with dotted names: 'settings.filters'."""
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        if name in ("settings", "revisions", "network", "data") and isinstance(value, dict):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        elif name not in _NOT_COMPARED:
            flat[name] = value
    return flat
