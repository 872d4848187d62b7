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
from stn_cluster.report.evaluation_tables import seeds_and_room, title_of_evaluations

CLEAN = "clean"  # is severity 0


def severity_figure(means: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws the mean error over seeds by severity: a panel for each test distortion.

    A curve is a network by what it was trained on; severity 0 is the test on upright images, where
    there is one. Worst-of-K rows are not drawn.

    Args:
        means: as `evaluation_means` gives them, of one data set and recipe.
        theme: its colours.

    Raises:
        UserError: there is no distortion at two severities, or they are of several data sets.
    """
    rows = means[(means["status"] == "succeeded") & (means["worst_of"] == 1)]
    if len(rows[["trained_dataset", "recipe", "dataset"]].drop_duplicates()) > 1:
        raise UserError("a figure is of one data set and recipe; choose with --dataset, --recipe")
    rows = rows.assign(
        network=[
            f"{network_name(row)}, trained on {row['trained_on']}"
            for row in rows.to_dict("records")
        ]
    )
    upright = rows[rows["on"] == CLEAN].set_index("network")["test_error_mean"]
    distorted = rows[rows["on"] != CLEAN]
    steps = distorted.groupby("on", sort=False)["severity"].nunique()
    tests = [on for on, count in steps.items() if count + (not upright.empty) > 1]
    if not tests:
        raise UserError(
            "there is nothing to draw: no test distortion was evaluated at two severities, as by "
            "`stn-cluster evaluate --on RTS --severity 1,2`"
        )
    figure = new_figure(theme, 3 + 5.5 * len(tests), 9)
    panels = new_axes(figure, theme, 1, len(tests))
    networks = list(dict.fromkeys(distorted["network"]))
    for panel, on in zip(panels, tests, strict=True):
        here = distorted[distorted["on"] == on]
        for number, network in enumerate(networks):
            curve = here[here["network"] == network].set_index("severity")["test_error_mean"]
            if network in upright.index and not curve.empty:
                curve.loc[0.0] = upright[network]
            curve = curve.sort_index()
            panel.plot(curve.index, curve, marker=".", label=network, **style_of(theme, number))
        set_title(panel, theme, f"tested on {on}")
        panel.set_xlabel("severity")
        panel.set_ylim(bottom=0)
        panel.grid(color=theme.faint, linewidth=0.5)
    panels[0].set_ylabel("test error, %")
    add_legend(figure, panels[0], theme, columns=3)
    add_caption(figure, theme, [f"{title_of_evaluations(rows)}.", *seeds_and_room(rows)[:1]])
    return figure
