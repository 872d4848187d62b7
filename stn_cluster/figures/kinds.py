"""The figures that can be drawn of a store, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.figures.confusion import confusion_figure
from stn_cluster.figures.forest import forest_figure
from stn_cluster.figures.heat_map import matrix_figure
from stn_cluster.figures.images import hardest_figure, saved_figure
from stn_cluster.figures.learning_curves import curves_figure
from stn_cluster.figures.load_seen import Choice, load_seen
from stn_cluster.figures.pose import pose_figure
from stn_cluster.figures.severity import severity_figure
from stn_cluster.figures.theme import LIGHT, Theme
from stn_cluster.figures.transfer_map import transfer_figure
from stn_cluster.figures.transformations import transformations_figure
from stn_cluster.figures.votes import load_votes
from stn_cluster.report.evaluation_tables import current_evaluations, evaluation_means
from stn_cluster.report.table import comparison_table, current_cells
from stn_cluster.store import Store, load_results


@dataclass(frozen=True)
class Wanted:
    """What a figure is to be drawn of."""

    store: Store
    filters: Mapping[str, Any] = field(default_factory=dict)  # as in `load_results`
    data_root: Path | None = None  # folder of the data sets' files
    theme: Theme = LIGHT
    labels: tuple[str, ...] = ()  # of the cells that `transformations` draws
    choice: Choice = field(default_factory=Choice)  # of its images

    def results(self) -> pd.DataFrame:
        """Cells that have succeeded, by their newest keys."""
        rows = current_cells(load_results(self.store, **self.filters))
        return rows[rows["status"] == "succeeded"].sort_index()

    def table(self) -> pd.DataFrame:
        """Their comparison table, with intervals."""
        return comparison_table(self.store, interval=True, data_root=self.data_root, **self.filters)


def _forest(wanted: Wanted) -> Figure:
    table = wanted.table()
    distortions = list(dict.fromkeys(table["distortion"]))
    if len(distortions) > 1:
        raise UserError(
            f"a forest plot is of one distortion; choose one of {', '.join(distortions)}, as in "
            f"--distortion {distortions[0]}"
        )
    return forest_figure(table, (distortions or [""])[0], wanted.theme)


def _confusion(wanted: Wanted) -> Figure:
    results = wanted.results()
    sets = wanted.store.read("test_sets", columns=["dataset", "class_names"]).to_pylist()
    names = {row["dataset"]: row["class_names"] for row in sets}
    found = [names.get(dataset) for dataset in results["dataset"].unique()]
    return confusion_figure(results, found[0] if found else None, wanted.theme)


def _curves(wanted: Wanted) -> Figure:
    columns = ["attempt", "step", "train_loss"]
    curves = wanted.store.read("curves", columns=columns).to_pandas()
    return curves_figure(wanted.results(), curves, wanted.theme)


def _pose(wanted: Wanted) -> Figure:
    rows = current_evaluations(wanted.store, status="succeeded", **wanted.filters)
    return pose_figure(rows, wanted.theme)


def _transformations(wanted: Wanted) -> Figure:
    if not wanted.labels:
        raise UserError(
            "name the cells to draw, as in `figure transformations ST-CNN/tps/RTS/seed0`"
        )
    seen = [
        load_seen(wanted.store, label, wanted.choice, wanted.data_root, wanted.filters)
        for label in wanted.labels
    ]
    return transformations_figure(seen, wanted.theme)


KINDS: dict[str, Callable[[Wanted], Figure]] = {
    "forest": _forest,
    "matrix": lambda wanted: matrix_figure(wanted.table(), wanted.theme),
    "curves": _curves,
    "confusion": _confusion,
    "hardest": lambda wanted: hardest_figure(
        load_votes(wanted.store, wanted.results(), wanted.data_root), theme=wanted.theme
    ),
    "saved": lambda wanted: saved_figure(
        load_votes(wanted.store, wanted.results(), wanted.data_root), wanted.theme
    ),
    "pose": _pose,
    "severity": lambda wanted: severity_figure(
        evaluation_means(wanted.store, **wanted.filters), wanted.theme
    ),
    "transfer": lambda wanted: transfer_figure(
        evaluation_means(wanted.store, **wanted.filters), wanted.theme
    ),
    "transformations": _transformations,
}
