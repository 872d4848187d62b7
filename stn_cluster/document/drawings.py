"""Figures as SVG within a page: in the page's colours, light or dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from stn_cluster.document.evidence import Evidence, Matrix
from stn_cluster.errors import UserError
from stn_cluster.figures.confusion import confusion_figure
from stn_cluster.figures.forest import forest_figure
from stn_cluster.figures.heat_map import matrix_figure
from stn_cluster.figures.images import hardest_figure, saved_figure
from stn_cluster.figures.inline_svg import PAGE, as_svg
from stn_cluster.figures.learning_curves import curves_figure
from stn_cluster.figures.pose import pose_figure
from stn_cluster.figures.table_parts import network_name
from stn_cluster.figures.votes import Votes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_MATRICES = 6  # that have figures
MOST_ROWS = 40  # of a matrix with figures


@dataclass(frozen=True)
class Drawing:
    """A figure of the report."""

    title: str  # what it shows, also for who cannot see it
    svg: str
    folded: bool = False


def draw_all(evidence: Evidence, left_out: dict[str, str]) -> dict[Matrix, list[Drawing]]:
    """Figures of each matrix.

    Args:
        evidence: what is drawn.
        left_out: gets what could not be drawn, and why.
    """
    found: dict[Matrix, list[Drawing]] = {}
    for number, (name, part) in enumerate(evidence.matrices()):
        title = f"Figures of {name[0]}, recipe {name[1]}"
        rows = len(part[["model", "transform"]].drop_duplicates())
        if number >= MOST_MATRICES:
            left_out[title] = f"only the first {MOST_MATRICES} tables have figures"
        elif rows > MOST_ROWS:
            left_out[title] = f"{rows:,} rows are too many for a figure"
        else:
            found[name] = list(_of_matrix(evidence, name, part, left_out))
    return found


def _of_matrix(
    evidence: Evidence, name: Matrix, part: pd.DataFrame, left_out: dict[str, str]
) -> Iterator[Drawing]:
    dataset, recipe = name
    table = part.reset_index(drop=True)
    results = evidence.succeeded
    rows = results[(results["dataset"] == dataset) & (results["recipe"] == recipe)]
    of = f" of {dataset}, recipe {recipe}"
    wanted: list[tuple[str, bool, Callable[[], Figure]]] = [
        (f"Errors{of}", False, lambda: matrix_figure(table, PAGE))
    ]
    for distortion in table["distortion"].unique():
        wanted.append(
            (
                f"Errors on {distortion} with intervals{of}",
                False,
                lambda distortion=distortion: forest_figure(table, distortion, PAGE),
            )
        )
    wanted.append(
        (f"Learning curves{of}", True, lambda: curves_figure(rows, evidence.curves, PAGE))
    )
    for distortion in table["distortion"].unique():
        best = _best(table, rows, str(distortion))
        if len(best):
            network = network_name(best.iloc[0].to_dict())
            wanted.append(
                (
                    f"Confusions of {network} on {distortion}{of}",
                    True,
                    lambda best=best: confusion_figure(best, None, PAGE),
                )
            )
    yield from _drawn(wanted, left_out)


def _best(table: pd.DataFrame, rows: pd.DataFrame, distortion: str) -> pd.DataFrame:
    """Cells of the entry with a column's smallest error."""
    column = table[(table["distortion"] == distortion) & table["test_error_mean"].notna()]
    if column.empty:
        return rows[:0]
    best = column.loc[column["test_error_mean"].idxmin()]
    same = (rows["model"] == best["model"]) & (rows["transform"] == best["transform"])
    return rows[same & (rows["distortion"] == distortion)]


def draw_votes(votes: list[Votes], left_out: dict[str, str]) -> list[Drawing]:
    """Figures of test images: the hardest, and those that only transformers save or lose."""
    wanted: list[tuple[str, bool, Callable[[], Figure]]] = []
    for one in votes:
        title = f"Hardest images of {one.title}"
        wanted.append((title, False, lambda one=one: hardest_figure(one, 16, PAGE)))
        if one.transformed.any() and not one.transformed.all():
            title = f"What transformers save and lose on {one.title}"
            wanted.append((title, False, lambda one=one: saved_figure(one, PAGE)))
    return list(_drawn(wanted, left_out))


def draw_pose(evaluations: pd.DataFrame, left_out: dict[str, str]) -> list[Drawing]:
    """Known pose, if evaluations have any."""
    rows = evaluations[evaluations["pose_residual_px"].notna()]
    if rows.empty:
        return []
    if len(rows) > MOST_ROWS:
        left_out["Figure of known pose"] = f"{len(rows):,} rows are too many for a figure"
        return []
    return list(_drawn([("Known pose", False, lambda: pose_figure(rows, PAGE))], left_out))


def _drawn(
    wanted: list[tuple[str, bool, Callable[[], Figure]]], left_out: dict[str, str]
) -> Iterator[Drawing]:
    for title, folded, draw in wanted:
        try:
            yield Drawing(title, as_svg(draw(), title), folded)
        except UserError as error:
            left_out[title] = str(error)
