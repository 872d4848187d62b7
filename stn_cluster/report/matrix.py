"""A comparison table for people: one matrix of short texts per data set and recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stn_cluster.plain_text import one_line

RING, DAGGER = "°", "†"  # marks of entries with intervals: see `interval_notes`
# Columns that `interval_table` adds; percent, as the other numbers.
INTERVAL_COLUMNS = (
    "question",  # that the interval answers: networks or methods
    "low",
    "high",
    "n_test",
    "base_images",
    "marked",  # whether it cannot be told from the column's best
    "marks_question",  # that the mark answers
    "p_best",  # of the difference to the column's best, corrected
    "rank",
    "rank_low",
    "rank_high",
    "delta_low",
    "delta_high",
    "beyond_reference",  # whether delta exceeds binomial error and rounding
    "n_failed",
    "n_missing",
    "n_rerun",
)
NONE = "-"  # in place of a row's mean if not all of its entries succeeded


@dataclass(frozen=True)
class Matrix:
    """Rows are networks, columns distortions; each entry is a line, not escaped for any format."""

    title: str
    header: tuple[str, ...]  # model, transform, the distortions, their mean if there are several
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[str, ...]  # sentences


def matrices(table: pd.DataFrame) -> list[Matrix]:
    """One matrix for each data set and recipe of a `comparison_table`, in its order."""
    return [
        _matrix(str(dataset), str(recipe), part, table.attrs.get("notes", {}))
        for (dataset, recipe), part in table.groupby(["dataset", "recipe"], sort=False)
    ]


def _matrix(
    dataset: str, recipe: str, part: pd.DataFrame, notes: Mapping[tuple[str, str], tuple[str, ...]]
) -> Matrix:
    distortions = list(part["distortion"].unique())
    seeds = int(part["n_seeds"].max())
    rows = []
    for model, transform, entries in matrix_rows(part):
        texts = [" ".join(filter(None, entry_parts(entry, seeds))) for entry in entries]
        mean = [_row_mean(entries, seeds)] if len(distortions) > 1 else []
        rows.append((model, transform, *texts, *mean))
    return Matrix(
        title=one_line(f"{dataset}, recipe {recipe}"),
        header=(
            *("model", "transform"),
            *(one_line(str(name)) for name in distortions),
            *(["mean"] if len(distortions) > 1 else []),
        ),
        rows=tuple(tuple(map(one_line, row)) for row in rows),
        legend=matrix_legend(dataset, recipe, part, notes),
    )


def matrix_legend(
    dataset: str, recipe: str, part: pd.DataFrame, notes: Mapping[tuple[str, str], tuple[str, ...]]
) -> tuple[str, ...]:
    """Sentences below a matrix.

    Args:
        dataset, recipe: whose it is.
        part: its rows of the table.
        notes: those of the table, from `interval_table`, if it has intervals.
    """
    captions = notes.get((dataset, recipe), ())
    return tuple(map(one_line, (*_legend(dataset, recipe, part), *captions)))


def matrix_rows(part: pd.DataFrame) -> Iterator[tuple[str, str, list[Mapping[Any, Any]]]]:
    """Model, transform and entries of each row of a matrix.

    Args:
        part: the table's rows of one data set and recipe.

    Yields:
        The entries are rows of the table, one for each distortion, in the order of the columns.
    """
    distortions = list(part["distortion"].unique())
    rows: dict[tuple[Any, Any], dict[Any, Mapping[Any, Any]]] = {}
    for entry in part.to_dict("records"):
        rows.setdefault((entry["model"], entry["transform"]), {})[entry["distortion"]] = entry
    for (model, transform), entries in rows.items():
        yield str(model), str(transform), [entries[name] for name in distortions]


def entry_parts(entry: Mapping[Any, Any], seeds: int) -> tuple[str, str, str]:
    """Texts of an entry: '1.23° ±0.04', '[1.05, 1.44]', '(0.8, +0.43)'.

    Parts that it does not have are ''; an entry without a result is 'failed' or 'missing'.

    Args:
        entry: a row of the table.
        seeds: most seeds that an entry of the matrix has.
    """
    if entry["status"] != "succeeded":
        return str(entry["status"]), "", ""
    spread = f" ±{entry['test_error_std']:.2f}" if entry["n_seeds"] > 1 else ""
    fewer = f" n={entry['n_seeds']}" if entry["n_seeds"] < seeds else ""
    mean = f"{entry['test_error_mean']:.2f}"
    ring = RING if entry.get("marked") is True else ""
    ends = f"[{entry['low']:.2f}, {entry['high']:.2f}]" if "low" in entry else ""
    dagger = DAGGER if entry.get("beyond_reference") is True else ""
    comparison = _comparison(entry["reference_error"], entry["delta"], dagger)
    return mean + ring + spread + fewer, ends, comparison


def _row_mean(entries: Sequence[Mapping[Any, Any]], seeds: int) -> str:
    if any(entry["status"] != "succeeded" for entry in entries):
        return NONE
    counts = [int(entry["n_seeds"]) for entry in entries]
    fewest, most = min(counts), max(counts)
    fewer = "" if fewest == seeds or "low" not in entries[0] else f" n={fewest}"
    fewer += f"-{most}" if fewer and most > fewest else ""
    names = ("reference_error", "delta", "test_error_mean")
    reference, delta, error = (float(np.mean([entry[name] for entry in entries])) for name in names)
    mean = f"{error:.2f}"
    return " ".join(filter(None, (mean + fewer, _comparison(reference, delta))))


def _comparison(reference: float, delta: float, mark: str = "") -> str:
    if math.isnan(reference):
        return ""
    return f"({round(reference, 2):g}, {round(delta, 2) + 0.0:+.2f}{mark})"  # + 0.0: no -0.00


def _legend(dataset: str, recipe: str, part: pd.DataFrame) -> list[str]:
    done = part[part["status"] == "succeeded"]
    fewest, most = (int(done["n_seeds"].min()), int(done["n_seeds"].max())) if len(done) else (0, 0)
    if most > 1:
        count = f"{most} seeds" + (" (fewer where n= says so)" if fewest < most else "")
        numbers = f"Test error in percent: mean ±standard deviation over {count}"
    else:
        numbers = "Test error in percent" + (", one seed" if most else "")
    compared = bool(part["reference_error"].notna().any())
    kind = "round brackets" if "low" in part else "brackets"
    brackets = f"; in {kind} the paper's, and ours less the paper's." if compared else "."
    lines = [numbers + brackets]
    if part["distortion"].nunique() > 1:
        lines.append("The last column is the mean over the distortions.")
    if compared and dataset != "mnist":
        lines.append(f"The paper's numbers are for MNIST, not for {dataset}.")
    if "+" in recipe:
        lines.append(f"{recipe}: {recipe.partition('+')[0]} with fields of its own.")
    texts = {"missing": "missing: not in this store.", "failed": "failed: ended with an error."}
    lines += [text for status, text in texts.items() if status in set(part["status"])]
    return lines
