"""Error by severity: the same test images, distorted less and more."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.figures.table_parts import network_name
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
from stn_cluster.grid import base_distortion
from stn_cluster.report.evaluation_tables import seeds_and_room, title_of_evaluations

CLEAN = "clean"  # is severity 0
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
        UserError: there is no distortion at two severities, or they are of several data sets.
    """
    rows = means[(means["status"] == "succeeded") & (means["worst_of"] == 1)]
    if len(rows[["trained_dataset", "recipe", "dataset"]].drop_duplicates()) > 1:
        raise UserError("a figure is of one data set and recipe; choose with --dataset, --recipe")
    curves, sentences = _curves(rows)
    steps = curves.groupby("on", sort=False)["severity"].nunique()
    tests = [on for on, count in steps.items() if count > 1]
    if not tests:
        raise UserError(
            "there is nothing to draw: no test distortion was evaluated at two severities, as by "
            "`stn-cluster evaluate --on RTS --severity 1,2`"
        )
    figure = new_figure(theme, 3 + 5.5 * len(tests), 9)
    panels = new_axes(figure, theme, 1, len(tests))
    networks = list(dict.fromkeys(curves["network"]))
    for panel, on in zip(panels, tests, strict=True):
        here = curves[curves["on"] == on]
        for number, network in enumerate(networks):
            curve = here[here["network"] == network].sort_values("severity")
            errors = curve["test_error_mean"]
            style = style_of(theme, number)
            panel.plot(curve["severity"], errors, marker=".", label=network, **style)
        set_title(panel, theme, f"tested on {on}")
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
    networks = [network_name(row) for row in rows.to_dict("records")]
    rows = rows.assign(network=networks)
    upright = rows[rows["on"] == CLEAN].drop(columns=["on"])
    distorted = rows[rows["on"] != CLEAN]
    tests = distorted[["network", "trained_on", "on"]].drop_duplicates()
    # A curve begins at the same network's error on upright images.
    points = pd.concat([distorted, upright.merge(tests, on=["network", "trained_on"])])
    if tests.groupby("on").size().max() > MOST_CURVES:
        trained, tested = (points[name].map(base_distortion) for name in ("trained_on", "on"))
        own = points[trained == tested]
        if not own.empty and not own.duplicated(["network", "on", "severity"]).any():
            return own, [OWN]
    return points.assign(network=points["network"] + ", trained on " + points["trained_on"]), []
