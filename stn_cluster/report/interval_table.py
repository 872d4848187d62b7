"""The comparison table's intervals, and marks for what cannot be told from a column's best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stn_cluster.errors import UserError, unknown
from stn_cluster.grid import NO_TRAINING
from stn_cluster.report.grading import GradedCell, Grades, grade
from stn_cluster.report.matrix import INTERVAL_COLUMNS
from stn_cluster.report.statistics.all_pairs import Pairs, pairs_of_methods, pairs_of_networks
from stn_cluster.report.statistics.intervals import (
    Wrong,
    networks_error,
    normal_quantile,
    wilson,
)
from stn_cluster.report.statistics.methods import method_error
from stn_cluster.report.statistics.multiple import CORRECTIONS
from stn_cluster.report.statistics.published_errors import against_published
from stn_cluster.report.statistics.questions import (
    ALPHA,
    LEVEL,
    METHOD_SEEDS,
    Interval,
    Question,
)
from stn_cluster.report.statistics.ranks import RankInterval, rank_intervals
from stn_cluster.store import Store

Names = tuple[str, str, str, str, str]  # data set, recipe, model, transform, distortion
_ENTRY = ["dataset", "recipe", "model", "transform", "distortion"]


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry of the matrix with its graded networks, by seed."""

    names: Names
    keys: tuple[str, ...]  # of succeeded cells, one per seed, as the next two
    n_test: tuple[int, ...]
    n_wrong: tuple[int, ...]
    graded: dict[int, GradedCell]  # by seed; empty if one of them could not be graded
    trained: bool = True  # else it has no seeds: it is the same network whatever the seed

    def wrong(self, seeds: Sequence[int]) -> Wrong:
        """(seeds, repeats, base images)."""
        if not self.trained:
            (only,) = self.graded.values()
            return np.broadcast_to(only.wrong, (len(seeds), *only.wrong.shape))
        return np.array([self.graded[seed].wrong for seed in seeds])

    @property
    def error(self) -> float:
        """Mean error over the seeds, 0 to 1."""
        return float(np.mean(np.divide(self.n_wrong, self.n_test)))


@dataclass(frozen=True, eq=False)
class Column:
    """Entries of one distortion that were tested on the same images, and all their pairs."""

    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]  # that its marks and ranks are over, if all entries have enough of them
    best: int  # index of the entry with the smallest error, over these seeds
    pairs: Pairs
    ranks: tuple[RankInterval, ...]
    adjusted: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # corrected p

    @property
    def question(self) -> Question:
        """What its marks answer."""
        return self.pairs.question

    @cached_property
    def with_best(self) -> NDArray[np.intp]:
        """Indices of the pairs that the best is in."""
        return np.flatnonzero((self.pairs.first == self.best) | (self.pairs.second == self.best))

    @cached_property
    def p_best(self) -> NDArray[np.float64]:
        """Corrected p-value of each entry against the best."""
        p = np.ones(len(self.entries))
        chosen = self.with_best
        p[self.pairs.first[chosen] + self.pairs.second[chosen] - self.best] = self.adjusted[chosen]
        return p


def add_intervals(
    table: pd.DataFrame,
    store: Store,
    cells: pd.DataFrame,
    correction: str = "holm",
    data_root: Path | None = None,
) -> pd.DataFrame:
    """Adds the columns of `INTERVAL_COLUMNS` to a comparison table; percent, as its others.

    The pairs of all columns of all matrices are one family of tests. An entry is `marked` if it
    cannot be told from the best of its column. From three common seeds on, that answers a question
    about methods, else about the trained networks: `marks_question`. Captions that say so are in
    `table.attrs["notes"]`, by data set and recipe; the names of the tests are in "tests", their
    number in "comparisons".

    Args:
        table: from `comparison_table`.
        store: the store that it was made of.
        cells: its cells, one per entry and seed, the missing ones too.
        correction: a name in `CORRECTIONS`.
        data_root: folder of data files, for a store without labels.

    Raises:
        UserError: there is no such correction, or `data_root` is not what was tested on.
        StoreError: a file of the store cannot be read.
    """
    from stn_cluster.report.interval_notes import notes

    if correction not in CORRECTIONS:
        raise UserError(unknown("correction", correction, CORRECTIONS), "correction")
    entries, grades = _entries(table, store, cells, data_root)
    columns = _corrected(list(_columns(entries.values())), correction)
    rows = _numbers(table, entries, columns, _coverage(store, cells))
    added = pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS), index=table.index)
    counts = ["n_test", "base_images", "rank", "rank_low", "rank_high"]
    counts += ["n_failed", "n_missing", "n_rerun"]
    whole = pd.concat([table, added.astype(dict.fromkeys(counts, "Int64"))], axis=1)
    found = {
        (str(dataset), str(recipe)): tuple(
            notes(
                part,
                [one for one in columns if one.entries[0].names[:2] == (dataset, recipe)],
                sum(len(one.adjusted) for one in columns),
                correction,
                _ungraded(part, entries, grades),
            )
        )
        for (dataset, recipe), part in whole.groupby(["dataset", "recipe"], sort=False)
    }
    whole.attrs["notes"] = found
    whole.attrs["comparisons"] = sum(len(one.adjusted) for one in columns)
    whole.attrs["tests"] = tuple(dict.fromkeys(one.pairs.test for one in columns))
    return whole


def _entries(
    table: pd.DataFrame, store: Store, cells: pd.DataFrame, data_root: Path | None
) -> tuple[dict[Names, Entry], Grades]:
    """Entries of the table that have a result, in its order."""
    columns = ["key", "attempt", "label", "n_test", "n_wrong", "spec"]
    results = store.results(columns=[*columns, "recipe"])
    results = results.assign(trained=results.pop("recipe") != NO_TRAINING)
    done = cells[cells["status"] == "succeeded"].merge(results, on="key")
    done = done[done["n_test"].notna() & done["n_wrong"].notna()]
    grades = grade(store, done.drop_duplicates("key"), data_root)
    members: dict[Names, list[Mapping[Hashable, Any]]] = {}
    for row in done.sort_values("seed").to_dict("records"):
        members.setdefault(cast(Names, tuple(row[name] for name in _ENTRY)), []).append(row)
    entries = {}
    for names in table[_ENTRY].itertuples(index=False, name=None):
        if names in members:
            entries[names] = _entry(names, members[names], grades)
    return entries, grades


def _entry(names: Names, rows: Sequence[Mapping[Hashable, Any]], grades: Grades) -> Entry:
    graded = {int(row["seed"]): grades.cells.get(row["key"]) for row in rows}
    known = {seed: cell for seed, cell in graded.items() if cell is not None}
    same = len({(cell.test_set, cell.wrong.shape) for cell in known.values()}) == 1
    return Entry(
        names,
        keys=tuple(row["key"] for row in rows),
        n_test=tuple(int(row["n_test"]) for row in rows),
        n_wrong=tuple(int(row["n_wrong"]) for row in rows),
        graded=known if same and len(known) == len(rows) else {},
        trained=all(row["trained"] for row in rows),
    )


def _columns(entries: Iterator[Entry] | Any) -> Iterator[Column]:
    """Columns with at least one graded entry: those on the test images that most entries have."""
    by_column: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        if entry.graded:
            dataset, recipe, _, _, distortion = entry.names
            by_column.setdefault((dataset, recipe, distortion), []).append(entry)
    for members in by_column.values():
        test_sets = Counter(next(iter(entry.graded.values())).test_set for entry in members)
        ((common, _),) = test_sets.most_common(1)
        same = [one for one in members if next(iter(one.graded.values())).test_set == common]
        yield _column(same)


def _column(entries: list[Entry]) -> Column:
    seeded = [entry for entry in entries if entry.trained] or entries
    seeds = sorted(set.intersection(*(set(entry.graded) for entry in seeded)))
    if len(seeds) >= METHOD_SEEDS:
        wrong = [entry.wrong(seeds) for entry in entries]
        pairs = pairs_of_methods(wrong)
        rates = np.array([one.mean(axis=1) for one in wrong])
    else:
        wrong = [entry.wrong(list(entry.graded)) for entry in entries]
        pairs = pairs_of_networks(wrong)
        rates = np.array([one.mean(axis=(0, 1))[None] for one in wrong])
        seeds = []
    # Of the same networks as the pairs: an entry's other seeds make it neither better nor worse.
    best = int(np.argmin(rates.mean(axis=(1, 2))))
    ranks = tuple(rank_intervals(rates, pairs.question))
    return Column(tuple(entries), tuple(seeds), best, pairs, ranks)


def _corrected(columns: list[Column], correction: str) -> list[Column]:
    """Columns with p-values that are corrected for the pairs of all of them."""
    p = np.concatenate([column.pairs.p for column in columns]) if columns else np.zeros(0)
    ends = np.cumsum([len(column.pairs.p) for column in columns])
    parts = np.split(CORRECTIONS[correction](p), ends[:-1]) if columns else []
    return [replace(column, adjusted=part) for column, part in zip(columns, parts, strict=True)]


def _coverage(store: Store, cells: pd.DataFrame) -> dict[Names, dict[str, int]]:
    """Numbers of failed, missing and rerun cells of each entry."""
    counts = store.read("cells", columns=["key"])["key"].value_counts()
    ended = Counter(dict(zip(*(column.to_pylist() for column in counts.flatten()), strict=True)))
    found: dict[Names, dict[str, int]] = {}
    columns = [cells[name].tolist() for name in (*_ENTRY, "key", "status")]
    for *names, key, status in zip(*columns, strict=True):
        counts = {"n_failed": 0, "n_missing": 0, "n_rerun": 0}
        counts = found.setdefault(cast(Names, tuple(names)), counts)
        counts["n_rerun"] += ended[key] > 1
        if f"n_{status}" in counts:
            counts[f"n_{status}"] += 1
    return found


def _numbers(
    table: pd.DataFrame,
    entries: dict[Names, Entry],
    columns: list[Column],
    coverage: dict[Names, dict[str, int]],
) -> list[dict[str, Any]]:
    place = {
        entry.names: (column, index)
        for column in columns
        for index, entry in enumerate(column.entries)
    }
    rows = []
    for row in table.to_dict("records"):
        names = cast(Names, tuple(row[name] for name in _ENTRY))
        numbers: dict[str, Any] = dict.fromkeys(INTERVAL_COLUMNS)
        numbers |= {"low": np.nan, "high": np.nan, "p_best": np.nan}
        numbers |= {"delta_low": np.nan, "delta_high": np.nan}
        numbers |= coverage.get(names, {"n_failed": 0, "n_missing": 0, "n_rerun": 0})
        if names in entries:
            numbers |= _of_entry(entries[names], row["reference_error"])
        if names in place:
            column, index = place[names]
            rank = column.ranks[index]
            numbers |= {"marks_question": column.question.value, "rank": rank.rank}
            numbers |= {"rank_low": rank.low, "rank_high": rank.high}
            if len(column.entries) > 1:
                p = float(column.p_best[index])
                numbers |= {"p_best": p, "marked": bool(p > ALPHA)}
        rows.append(numbers)
    return rows


def _of_entry(entry: Entry, reference: float) -> dict[str, Any]:
    """Numbers of an entry by itself."""
    interval, base_images = entry_interval(entry)
    numbers: dict[str, Any] = {
        "question": interval.question.value,
        "low": 100 * interval.low,
        "high": 100 * interval.high,
        "n_test": entry.n_test[0],
        "base_images": base_images,
    }
    if entry.names[0] == "mnist" and not np.isnan(reference):  # published for MNIST alone
        delta = against_published(entry.error, interval, reference / 100)
        numbers |= {"delta_low": 100 * delta.low, "delta_high": 100 * delta.high}
        numbers |= {"beyond_reference": 0 not in delta}
    return numbers


def entry_interval(entry: Entry) -> tuple[Interval, int | None]:
    """Interval of an entry's mean error, and its number of base images if that is known.

    Where predictions could not be graded, it is Wilson's, as if all images were independent and all
    networks wrong on the same ones.
    """
    if not entry.graded:
        low, high = wilson(entry.error, entry.n_test[0], normal_quantile(LEVEL))
        return Interval(float(low), float(high), Question.NETWORKS), None
    wrong = entry.wrong(list(entry.graded))
    interval = method_error(wrong) if len(wrong) >= METHOD_SEEDS else networks_error(wrong)
    return interval, wrong.shape[2]


def _ungraded(part: pd.DataFrame, entries: dict[Names, Entry], grades: Grades) -> list[str]:
    """Why entries of a matrix could not be compared, each reason once."""
    found = []
    for names in part[_ENTRY].itertuples(index=False, name=None):
        entry = entries.get(names)
        if entry is not None and not entry.graded:
            reasons = [grades.reasons[key] for key in entry.keys if key in grades.reasons]
            found += reasons or ["its seeds differ in their images"]
    return list(dict.fromkeys(found))
