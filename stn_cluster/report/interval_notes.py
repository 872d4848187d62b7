"""Sentences below a table with intervals: what its intervals and marks mean, and what they cannot
show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stn_cluster.report.matrix import DAGGER, RING
from stn_cluster.report.statistics.intervals import normal_quantile
from stn_cluster.report.statistics.methods import quantile
from stn_cluster.report.statistics.multiple import CORRECTION_NAMES
from stn_cluster.report.statistics.power import (
    POWER,
    detectable,
    seeds_needed,
    smallest_significant,
)
from stn_cluster.report.statistics.published_errors import PUBLISHED_IMAGES
from stn_cluster.report.statistics.questions import ALPHA, LEVEL, METHOD_SEEDS, Question

if TYPE_CHECKING:
    from stn_cluster.report.interval_table import Column


def notes(
    part: pd.DataFrame,
    columns: Sequence[Column],
    comparisons: int,
    correction: str,
    reasons: Sequence[str],
) -> list[str]:
    """Sentences of one matrix.

    Args:
        part: the matrix's rows of the table.
        columns: those of its columns that have marks.
        comparisons: size of the family of tests, of all matrices shown.
        correction: name of the correction.
        reasons: why entries have no marks.
    """
    found = [*_intervals(part, graded=bool(columns)), *_marks(columns, comparisons, correction)]
    if reasons:
        found.append(f"No marks where predictions cannot be graded: {'; '.join(reasons)}.")
    found += _common_seeds(columns)
    others = part["marks_question"].isna() & (part["status"] == "succeeded")
    if columns and others.any() and not reasons:
        found.append("Entries without a rank were tested on other images than their column.")
    if part["beyond_reference"].notna().any():
        found.append(
            f"{DAGGER}: differs from the paper's number by more than the binomial error of both "
            f"(the paper's of {PUBLISHED_IMAGES:,} images) and its rounding (±0.05)."
        )
    return [*found, *_sight(columns, comparisons), _coverage(part)]


def _intervals(part: pd.DataFrame, graded: bool) -> Iterable[str]:
    done = part[part["status"] == "succeeded"]
    if not len(done):
        return
    counts = sorted({int(n) for n in done["n_test"].dropna()})
    if not counts:  # nothing was tested
        return
    images = " to ".join(dict.fromkeys(f"{n:,}" for n in (counts[0], counts[-1])))
    base = sorted({int(n) for n in done["base_images"].dropna()})
    ends = " to ".join(dict.fromkeys(f"{n:,}" for n in (*base[:1], *base[-1:])))
    of_base = f" of {ends} base images" if base and base != counts else ""
    kinds = []
    if (done["question"] == Question.NETWORKS.value).any():
        as_if = "" if graded or not len(counts) else ", taken to be independent"
        kinds.append(f"over images{as_if}: {Question.NETWORKS.words}")
    if (done["question"] == Question.METHODS.value).any():
        where = f", where n >= {METHOD_SEEDS}" if kinds else ""
        kinds.append(f"over seeds and images{where}: {Question.METHODS.words}")
    yield (
        f"In square brackets the {LEVEL:.0%} interval {'; '.join(kinds)}. "
        f"{images} test images{of_base}."
    )


def _marks(columns: Sequence[Column], comparisons: int, correction: str) -> Iterable[str]:
    if not any(len(column.entries) > 1 for column in columns):
        return
    tests = []
    for question in Question:
        of_question = [column for column in columns if column.question is question]
        if of_question:
            names = ", ".join(column.entries[0].names[4] for column in of_question)
            test = ", ".join(dict.fromkeys(column.pairs.test for column in of_question))
            where = "" if len(of_question) == len(columns) else f"{names}: "
            tests.append(f"{where}{question.words}, {test}")
    number = "1 comparison" if comparisons == 1 else f"{comparisons:,} comparisons"
    yield (
        f"{RING}: cannot be told from the best of its column ({'; '.join(tests)}; "
        f"{CORRECTION_NAMES[correction]} over {number}, {ALPHA:.0%})."
    )
    if any(column.question is Question.NETWORKS for column in columns):
        fewest = min(len(entry.graded) for column in columns for entry in column.entries)
        seeds = "One seed says" if fewest == 1 else "Two seeds say"
        if fewest < METHOD_SEEDS:
            yield f"{seeds} nothing about the methods."


def _common_seeds(columns: Sequence[Column]) -> Iterable[str]:
    """Columns whose marks leave out seeds that only some of the entries have."""
    names: dict[str, list[str]] = {}
    for column in columns:
        seeded = [entry for entry in column.entries if entry.trained]
        if column.seeds and any(len(entry.graded) > len(column.seeds) for entry in seeded):
            seeds = ", ".join(map(str, column.seeds))
            names.setdefault(seeds, []).append(column.entries[0].names[4])
    for seeds, distortions in names.items():
        yield (
            f"{', '.join(distortions)}: marks and ranks are over the seeds that all entries have "
            f"({seeds}), errors over all."
        )


def _sight(columns: Sequence[Column], comparisons: int) -> Iterable[str]:
    """The smallest differences that can be seen, and the seeds that open pairs would need."""
    for question in Question:
        chosen = [one for one in columns if one.question is question and len(one.entries) > 1]
        if chosen:
            yield _smallest(chosen, comparisons)
    open_pairs = 0
    needed: list[int | None] = []
    for column in columns:
        open_here = column.with_best[column.adjusted[column.with_best] > ALPHA]
        open_pairs += len(open_here)
        if column.pairs.spread is not None:
            every = column.pairs.spread
            for pair in open_here:
                one = replace(
                    every,
                    mean=every.mean[pair],
                    by_seeds=every.by_seeds[pair],
                    by_images=every.by_images[pair],
                )
                needed.append(seeds_needed(one, alpha=ALPHA / comparisons))
    if open_pairs:
        needs = _needed(needed, open_pairs)
        yield f"Pairs with a column's best that are open: {open_pairs:,}{needs}."


def _needed(seeds: Sequence[int | None], open_pairs: int) -> str:
    """What open pairs would need.

    Args:
        seeds: for each pair of methods; None: no number of seeds is enough.
        open_pairs: how many are open, those of networks too.
    """
    if not seeds:
        return f"; how many seeds they need can be said from {METHOD_SEEDS} seeds on"
    parts = []
    enough = sorted(count for count in seeds if count is not None)
    if enough:
        most = f" to {enough[-1]}" if enough[-1] > enough[0] else ""
        parts.append(f"{len(enough):,} of them would take {enough[0]}{most} seeds")
    if len(enough) < len(seeds):
        parts.append(f"{len(seeds) - len(enough):,} take more images, or are alike")
    if len(seeds) < open_pairs:
        parts.append(f"of {open_pairs - len(seeds):,} it can be said from {METHOD_SEEDS} seeds on")
    observed = f"(if the differences are as observed; {POWER:.0%} power)"
    return f"; {'; '.join(parts)} {observed}"


def _smallest(columns: Sequence[Column], comparisons: int) -> str:
    """What a typical pair with a column's best would have to differ by."""
    question = columns[0].question
    if all(column.pairs.discordant is not None for column in columns):
        counts = np.concatenate(
            [
                column.pairs.discordant[column.with_best]
                for column in columns
                if column.pairs.discordant is not None
            ]
        )
        discordant = int(np.median(counts))
        n = columns[0].entries[0].wrong(list(columns[0].entries[0].graded)).size
        alone, seen = smallest_significant(discordant, n), detectable(discordant, n)
        strictest = smallest_significant(discordant, n, ALPHA / comparisons)
        start = f"Half of the pairs with a column's best differ on {discordant:,} images or fewer"
        if alone is None or seen is None:
            return f"{start}: too few for any difference to be told."
        first = (
            "" if strictest is None else f", the first of {comparisons:,} from {_points(strictest)}"
        )
        return (
            f"{start}: one such pair alone is told apart from {_points(alone)} points on "
            f"({_points(max(alone, seen))} with {POWER:.0%} power)"
            f"{first if comparisons > 1 else ''}."
        )
    errors: list[float] = []
    for column in columns:
        pairs, chosen = column.pairs, column.with_best
        if pairs.spread is not None:
            spread = replace(
                pairs.spread,
                by_seeds=pairs.spread.by_seeds[chosen],
                by_images=pairs.spread.by_images[chosen],
            )
            errors += list(quantile(spread, (1 - LEVEL) / 2) * np.sqrt(spread.variance))
        elif pairs.error is not None:
            errors += list(normal_quantile(LEVEL) * pairs.error[chosen])
    differing = [error for error in errors if error > 0]  # else nothing shows their spread
    if not differing:
        return "Pairs with a column's best differ on no image: what would be told apart is unknown."
    return (
        f"A typical pair with a column's best, alone, is told apart from "
        f"{_points(float(np.median(differing)))} points on ({question.words})."
    )


def _points(difference: float) -> str:
    return f"{100 * difference:.2f}"


def _coverage(part: pd.DataFrame) -> str:
    """How many cells the numbers rest on."""
    counts = {name: int(part[f"n_{name}"].sum()) for name in ("failed", "missing", "rerun")}
    succeeded = int(part["n_seeds"].sum())
    total = succeeded + counts["failed"] + counts["missing"]
    others = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    gaps = int(((part["status"] == "missing") & (part["n_missing"] == 0)).sum())  # nobody asked
    verb = "entry of the matrix has" if gaps == 1 else "entries of the matrix have"
    without = f"; {gaps:,} {verb} no cell" if gaps else ""
    return f"Cells: {succeeded:,} of {total:,} succeeded; {others}{without}."
