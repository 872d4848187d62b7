"""Error by severity: the same test images, distorted less and more."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.figures.evaluation_parts import drawn_means
from stn_cluster.figures.theme import (
    LIGHT,
    Theme,
    add_caption,
    add_legend,
    new_axes,
    new_figure,
    set_title,
    style_of,
)
from stn_cluster.grid import without_canvas
from stn_cluster.report.evaluation_tables import seeds_and_room, title_of_evaluations

MOST_CURVES = 12  # in a panel
OWN = "Each network is trained on the distortion that it is tested on."


def severity_figure(means: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws the mean error over seeds by severity: a panel for each test distortion.

    A curve is a network by what it was trained on; severity 0 is the test on upright images, where
    there is one. Worst-of-K rows are not drawn. Where there would be more curves than a reader can
    tell apart, those of networks that were trained on a panel's distortion are drawn, and the
    caption says so.

    Args:
        means: as `evaluation_means` gives them, of one data set and recipe.
        theme: its colours.

    Raises:
        UserError: there is no distortion at two severities, or they are of several data sets or
            recipes.
    """
    rows = drawn_means(means)
    curves, sentences = _curves(rows)
    steps = curves.groupby("test", sort=False)["severity"].nunique()
    tests = [test for test, count in steps.items() if count > 1]
    if not tests:
        raise UserError(
            "there is nothing to draw: no test distortion was evaluated at two severities, as by "
            "`stn-cluster evaluate --on RTS --severity 1,2`"
        )
    figure = new_figure(theme, 3 + 5.5 * len(tests), 9)
    panels = new_axes(figure, theme, 1, len(tests))
    networks = list(dict.fromkeys(curves["network"]))
    for panel, test in zip(panels, tests, strict=True):
        here = curves[curves["test"] == test]
        for number, network in enumerate(networks):
            curve = here[here["network"] == network].sort_values("severity")
            errors = curve["test_error_mean"]
            style = style_of(theme, number)
            panel.plot(curve["severity"], errors, marker=".", label=network, **style)
        set_title(panel, theme, f"tested on {test}")
        panel.set_xlabel("severity")
        panel.set_ylim(bottom=0)
        panel.grid(color=theme.faint, linewidth=0.5)
    panels[0].set_ylabel("test error, %")
    add_legend(figure, panels[0], theme, columns=3)
    caption = [f"{title_of_evaluations(rows)}.", *sentences, *seeds_and_room(rows)[:1]]
    add_caption(figure, theme, caption)
    return figure


def _curves(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Points of all curves, with the name of each one's `network`; and sentences about them."""
    of_network = ["network", "trained_on", "dataset"]
    distorted = rows[rows["on"] != CLEAN]
    tests = distorted[[*of_network, "on", "test"]].drop_duplicates()
    # A curve begins at the same network's error on upright images.
    upright = rows[rows["on"] == CLEAN].drop(columns=["on", "test"]).merge(tests, on=of_network)
    points = pd.concat([distorted, upright])
    points = points.drop_duplicates([*of_network, "test", "severity"])
    if tests.groupby("test").size().max() > MOST_CURVES:
        own = points[points["trained_on"].map(without_canvas) == points["on"]]
        if not own.empty and not own.duplicated(["network", "test", "severity"]).any():
            return own, [OWN]
    named = points["network"] + ", trained on " + points["trained_on"]
    return points.assign(network=named.astype(str)), []
