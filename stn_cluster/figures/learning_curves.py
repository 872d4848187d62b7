"""Training losses over the steps, with a band over the seeds."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from stn_cluster.errors import UserError
from stn_cluster.figures.table_parts import network_name
from stn_cluster.figures.theme import (
    LIGHT,
    Theme,
    add_legend,
    new_axes,
    new_figure,
    set_title,
    style_of,
)
from stn_cluster.store import in_table_order

PANELS = 4  # in a row


def curves_figure(results: pd.DataFrame, curves: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws the mean training loss over seeds, and a band from the smallest to the largest.

    Args:
        results: cells of one data set and recipe, as `load_results` gives them.
        curves: the store's `curves`: attempt, step, train_loss.
        theme: its colours.

    Raises:
        UserError: none of the cells has a curve, or they are of several data sets or recipes.
    """
    names = ["dataset", "recipe", "model", "transform", "distortion", "seed"]
    points = in_table_order(results)[["attempt", *names]].merge(curves, on="attempt")
    points = points[points["train_loss"].notna()]
    if points.empty:
        raise UserError("there is nothing to draw: no cell has a learning curve")
    if len(points[["dataset", "recipe"]].drop_duplicates()) > 1:
        raise UserError("a figure is of one data set and recipe; choose with --dataset, --recipe")
    distortions = list(in_table_order(points[["distortion"]].drop_duplicates())["distortion"])
    columns = min(PANELS, len(distortions))
    rows = math.ceil(len(distortions) / columns)
    figure = new_figure(theme, 3 + 5 * columns, 2 + 6 * rows)
    panels = new_axes(figure, theme, rows, columns)
    points = points.assign(network=[network_name(row) for row in points.to_dict("records")])
    networks = list(dict.fromkeys(points["network"]))
    for panel, distortion in zip(panels, distortions, strict=False):
        here = points[points["distortion"] == distortion]
        for number, network in enumerate(networks):
            seeds = here[here["network"] == network].groupby("step")["train_loss"]
            loss, style = seeds.mean(), style_of(theme, number)
            panel.plot(loss.index, loss, label=network, linewidth=1.2, **style)
            panel.fill_between(
                loss.index, seeds.min(), seeds.max(), color=style["color"], alpha=0.2, linewidth=0
            )
        set_title(panel, theme, distortion)
        panel.set_yscale("log")
        panel.grid(color=theme.faint, linewidth=0.5)
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        panel.yaxis.set_minor_locator(NullLocator())
    for panel in panels[len(distortions) :]:
        panel.remove()
    panels[0].set_ylabel("training loss")
    add_legend(figure, panels[0], theme)
    return figure
