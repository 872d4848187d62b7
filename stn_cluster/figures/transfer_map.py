"""Trained on one distortion, tested on another: a heat map."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.figures.evaluation_parts import drawn_means
from stn_cluster.figures.theme import LIGHT, Theme, add_caption, new_axes, new_figure, set_title
from stn_cluster.report.evaluation_tables import NO_ROOM, seeds_and_room, title_of_evaluations


def transfer_figure(means: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws errors of networks by what they were trained on (rows) and tested on (columns).

    Test sets at severity 1, each image drawn once; `clean` too. Colours are on a logarithmic scale
    over the whole figure.

    Args:
        means: as `evaluation_means` gives them, of one data set and recipe.
        theme: its colours.

    Raises:
        UserError: there are no such evaluations, or they are of several data sets or recipes.
    """
    rows = drawn_means(means)
    rows = rows[(rows["severity"] == 1) | (rows["on"] == CLEAN)]
    if rows.empty:
        raise UserError("there is nothing to draw: no test set has severity 1")
    labels = list(rows["network"] + ", " + rows["trained_on"])
    entries = rows.assign(network=labels).set_index(["network", "test"])
    entries = entries[~entries.index.duplicated()]
    order, tests = dict.fromkeys(labels), dict.fromkeys(rows["test"])
    errors = entries["test_error_mean"].unstack().loc[[*order], [*tests]]
    full = entries["no_room"].unstack(fill_value=False).loc[[*order], [*tests]].to_numpy(bool)
    figure = new_figure(theme, 6 + 2 * len(errors.columns), 2.5 + 0.6 * len(errors))
    (axes,) = new_axes(figure, theme)
    values = errors.to_numpy(float)
    lowest = max(0.01, float(np.nanmin(values)))
    norm = LogNorm(lowest, max(1.01 * lowest, float(np.nanmax(values))), clip=True)
    colours = colormaps[theme.colormap].with_extremes(bad=theme.background)
    axes.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for y, x in zip(*np.nonzero(np.isfinite(values)), strict=True):
        ink = "black" if norm(values[y, x]) > 0.5 else "white"
        star = NO_ROOM if full[y, x] else ""
        axes.text(
            x, y, f"{values[y, x]:.2f}{star}", ha="center", va="center", color=ink, fontsize=8
        )
    axes.set_xticks(range(len(errors.columns)), list(errors.columns))
    axes.set_yticks(range(len(errors)), [*order])
    axes.xaxis.tick_top()
    axes.set_xlabel("tested on")
    axes.xaxis.set_label_position("top")
    # Lying above the rows' names, as few rows are lower than it is long.
    axes.annotate(
        "network, trained on",
        (0, 1),
        (-7, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=theme.text,
        fontsize=axes.xaxis.label.get_fontsize(),
    )
    set_title(axes, theme, f"{title_of_evaluations(rows)}: test error, %")
    add_caption(figure, theme, seeds_and_room(rows))
    return figure
