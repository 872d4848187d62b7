"""Figures as SVG within a page: in the page's colours, light or dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from stn_cluster.document.evidence import Evidence, Matrix
from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.figures.confusion import confusion_figure
from stn_cluster.figures.evaluation_parts import plain_successes
from stn_cluster.figures.forest import forest_figure
from stn_cluster.figures.heat_map import matrix_figure
from stn_cluster.figures.images import hardest_figure, saved_figure
from stn_cluster.figures.inline_svg import PAGE, as_svg
from stn_cluster.figures.learning_curves import curves_figure
from stn_cluster.figures.pose import pose_figure
from stn_cluster.figures.severity import severity_figure
from stn_cluster.figures.table_parts import network_name
from stn_cluster.figures.transfer_map import transfer_figure
from stn_cluster.figures.votes import Votes
from stn_cluster.grid import without_canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Wanted = tuple[str, bool, "Callable[[], Figure]"]  # title, whether it is folded, what draws it
WIDE = 7.5  # inches
MOST_MATRICES = 6  # that have figures
MOST_ROWS, MOST_COLUMNS = 40, 12  # of a matrix with figures


@dataclass(frozen=True)
class Drawing:
    """A figure of the report."""

    title: str  # what it shows, also for who cannot see it
    svg: str
    folded: bool = False
    wide: bool = False  # whether it takes the whole width of a page


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
        elif part["distortion"].nunique() > MOST_COLUMNS:
            count = part["distortion"].nunique()
            left_out[title] = f"{count:,} columns are too many for figures"
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
    wanted: list[_Wanted] = [(f"Errors{of}", False, partial(matrix_figure, table, PAGE))]
    distortions = [str(name) for name in table["distortion"].unique()]
    for distortion in distortions:
        title = f"Errors on {distortion} with intervals{of}"
        wanted.append((title, False, partial(forest_figure, table, distortion, PAGE)))
    wanted.append((f"Learning curves{of}", True, partial(_curves, evidence, rows)))
    for distortion in distortions:
        best = _best(table, rows, distortion)
        if len(best):
            network = network_name(best.to_dict("records")[0])
            title = f"Confusions of {network} on {distortion}{of}"
            names = evidence.class_names.get(dataset)
            wanted.append((title, True, partial(confusion_figure, best, names, PAGE)))
    yield from _drawn(wanted, left_out)


def _curves(evidence: Evidence, rows: pd.DataFrame) -> Figure:
    points = evidence.store.read("curves", columns=["attempt", "step", "train_loss"])
    return curves_figure(rows, points.to_pandas(), PAGE)


def _best(table: pd.DataFrame, rows: pd.DataFrame, distortion: str) -> pd.DataFrame:
    """Cells of the entry with a column's smallest error."""
    column = table[(table["distortion"] == distortion) & table["test_error_mean"].notna()]
    entries = column.to_dict("records")
    if not entries:
        return rows[:0]
    best = min(entries, key=lambda entry: float(entry["test_error_mean"]))
    chosen: pd.DataFrame = rows[
        (rows["model"] == best["model"])
        & (rows["transform"] == best["transform"])
        & (rows["distortion"] == distortion)
    ]
    return chosen


def draw_votes(votes: Sequence[Votes], left_out: dict[str, str]) -> list[Drawing]:
    """Figures of test images: the hardest, and those that only transformers save or lose."""
    wanted: list[_Wanted] = []
    for one in votes:
        title = f"Hardest images of {one.title}"
        wanted.append((title, False, partial(hardest_figure, one, 16, PAGE)))
        if one.transformed.any() and not one.transformed.all():
            title = f"What transformers save and lose on {one.title}"
            wanted.append((title, False, partial(saved_figure, one, PAGE)))
    return list(_drawn(wanted, left_out))


def draw_evaluations(evidence: Evidence, left_out: dict[str, str]) -> list[Drawing]:
    """Figures of evaluations: trained on one distortion and tested on another, errors by severity,
    known pose."""
    wanted: list[_Wanted] = []
    means = plain_successes(evidence.evaluation_means)
    for number, ((dataset, recipe), part) in enumerate(
        means.groupby(["trained_dataset", "recipe"], sort=False)
    ):
        of = f" of evaluations of {dataset}, recipe {recipe}"
        rows = len(part[["model", "transform", "trained_on"]].drop_duplicates())
        tests = part[["dataset", "on"]].drop_duplicates()
        distorted = part[part["on"] != CLEAN].groupby(["dataset", "on"])
        if number >= MOST_MATRICES:
            left_out[f"Figures{of}"] = f"only those of the first {MOST_MATRICES} tables are drawn"
        elif rows > MOST_ROWS or len(tests) > MOST_COLUMNS:
            many = f"{rows:,} networks on {len(tests):,} tests"
            left_out[f"Figures{of}"] = f"{many} are too many for a figure"
        else:
            if len(tests) > 1:
                wanted.append((f"Transfer{of}", False, partial(transfer_figure, part, PAGE)))
            if (distorted["severity"].nunique() > 1).any():
                wanted.append((f"Severity{of}", False, partial(severity_figure, part, PAGE)))
    wanted += _pose(evidence.evaluations, left_out)
    return list(_drawn(wanted, left_out))


def _pose(evaluations: pd.DataFrame, left_out: dict[str, str]) -> list[_Wanted]:
    """Known pose, if evaluations have any."""
    known = evaluations[evaluations["pose_residual_px"].notna()]
    if known.empty:
        return []
    rows, title = known, "Known pose"
    if len(known) > MOST_ROWS:  # then as the networks were trained
        own = known["trained_on"].map(without_canvas) == known["on"]
        rows = known[own & (known["severity"] == 1) & (known["worst_of"] == 1)]
        title = "Known pose on what networks were trained on"
    if not 0 < len(rows) <= MOST_ROWS:
        left_out["Figure of known pose"] = f"{len(known):,} rows are too many for a figure"
        return []
    return [(title, False, partial(pose_figure, rows, PAGE))]


def _drawn(wanted: Sequence[_Wanted], left_out: dict[str, str]) -> Iterator[Drawing]:
    for title, folded, draw in wanted:
        try:
            figure = draw()
            wide = figure.get_figwidth() > WIDE
            yield Drawing(title, as_svg(figure, title), folded, wide)
        except UserError as error:
            left_out[title] = str(error)
