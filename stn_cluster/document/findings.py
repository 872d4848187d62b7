"""What the tables of a report come to, in sentences, and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from stn_cluster.document.evidence import Evidence
from stn_cluster.document.section import Grid, Section, counted, listed, make_grid
from stn_cluster.figures.table_parts import network_name
from stn_cluster.report.matrix import matrix_rows
from stn_cluster.report.statistics.questions import LEVEL, Question

MOST_NAMED = 8  # rows of a column that a sentence names


def findings(evidence: Evidence) -> Section:
    """The best of each column, and what cannot be told from it."""
    several = len(list(evidence.matrices())) > 1
    sentences = []
    for (dataset, recipe), part in evidence.matrices():
        for distortion, column in part.groupby("distortion", sort=False):
            name = f"{dataset}, {recipe}, {distortion}" if several else str(distortion)
            sentences.append(f"{name}: {_finding(column)}")
    return Section("findings", "Findings", (*sentences, *map(_sentence, evidence.outdated)))


def _sentence(line: str) -> str:
    return f"Outdated: {line}."


def _finding(column: pd.DataFrame) -> str:
    done = column[column["status"] == "succeeded"]
    if done.empty:
        return "no result."
    rows = done.to_dict("records")
    best = min(rows, key=_place)
    start = f"the smallest error is {_error(best)}, of {network_name(best)}"
    least = min(rows, key=lambda row: float(row["test_error_mean"]))
    if best["marked"] is True and least["marked"] is not None and least is not best:
        start = (
            f"over the seeds that all have, the best is {network_name(best)}, whose error is "
            f"{_error(best)}"
        )
    if len(done) == 1:
        return f"{start}; there is no other to compare it with."
    if best["marked"] is not True:
        return f"{start}; its predictions cannot be compared with the others'."
    about = Question(best["marks_question"]).words
    near = [row for row in rows if row["marked"] is True and row is not best]
    near.sort(key=lambda row: float(row["test_error_mean"]))
    names = listed(map(network_name, near), MOST_NAMED)
    others = f"{names} cannot be told from it" if near else "all others are worse"
    untold = sum(row["marked"] is None for row in rows)
    rest = f"; {untold} could not be compared" if untold else ""
    return f"{start}; {others}{rest} ({about})."


def _place(row: Mapping[Any, Any]) -> tuple[float, float]:
    """Sorts the best of a column first: its rank is over the seeds that all have."""
    rank = math.inf if pd.isna(row["rank"]) else float(row["rank"])
    return rank, float(row["test_error_mean"])


def _error(row: Mapping[Any, Any]) -> str:
    return f"{row['test_error_mean']:.2f} % [{row['low']:.2f}, {row['high']:.2f}]"


def ranks(evidence: Evidence) -> Iterator[Grid]:
    """Ranks within the columns of each matrix, with their intervals."""
    for (dataset, recipe), part in evidence.matrices():
        if part["rank"].isna().all():
            continue
        rows = [
            (model, transform, *map(_rank, entries))
            for model, transform, entries in matrix_rows(part)
        ]
        yield make_grid(
            f"{dataset}, recipe {recipe}: rank within each column, with its {LEVEL:.0%} interval",
            ("model", "transform", *map(str, part["distortion"].unique())),
            rows,
        )


def _rank(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["rank"]):
        return "-"
    return f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"


def coverage(evidence: Evidence) -> str:
    """How many cells there are: '32 of 32 cells succeeded'."""
    table = evidence.table
    counts = {name: int(table[f"n_{name}"].sum()) for name in ("failed", "missing", "rerun")}
    succeeded = int(table["n_seeds"].sum())
    total = succeeded + counts["failed"] + counts["missing"]
    others = [f"{count:,} {name}" for name, count in counts.items() if count]
    return ", ".join([f"{succeeded:,} of {counted(total, 'cell')} succeeded", *others])
