"""The comparison table as a heat map."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from stn_cluster.figures.table_parts import network_name, one_matrix, question_of, title_of
from stn_cluster.figures.theme import LIGHT, Theme, add_caption, new_axes, new_figure, set_title
from stn_cluster.report.matrix import RING

NARROWEST = 11.0  # cm: the caption's width


def matrix_figure(table: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws errors in percent, coloured within each column from its smallest to its largest.

    A ring marks what cannot be told from the best of its column; an entry without a result says
    why.

    Args:
        table: a `comparison_table` with intervals, of one data set and recipe.
        theme: its colours.

    Raises:
        UserError: the table is empty, or of several data sets or recipes.
    """
    rows = one_matrix(table).assign(network=[network_name(r) for r in table.to_dict("records")])
    networks = list(dict.fromkeys(rows["network"]))
    distortions = list(dict.fromkeys(rows["distortion"]))
    figure = new_figure(
        theme, max(NARROWEST, 5 + 2.4 * len(distortions)), 2.5 + 0.75 * len(networks)
    )
    (axes,) = new_axes(figure, theme)
    shades = np.full((len(networks), len(distortions)), np.nan)
    for place, distortion in enumerate(distortions):
        column = rows[rows["distortion"] == distortion]
        errors = column["test_error_mean"].to_numpy(float)
        known = np.isfinite(errors)
        if known.any():
            low, high = errors[known].min(), errors[known].max()
            span = high - low or 1.0
            where = [networks.index(network) for network in column["network"]]
            shades[where, place] = (errors - low) / span
    colours = colormaps[theme.colormap].with_extremes(bad="none")
    axes.imshow(shades, cmap=colours, vmin=0, vmax=1, aspect="auto")
    for row in rows.to_dict("records"):
        x, y = distortions.index(row["distortion"]), networks.index(row["network"])
        error = row["test_error_mean"]
        if not np.isfinite(error):
            text, ink = row["status"], theme.text
        else:
            ring = RING if row["marked"] is True else ""
            text, ink = f"{error:.2f}{ring}", "black" if shades[y, x] > 0.5 else "white"
        axes.text(x, y, text, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(distortions)), distortions)
    axes.set_yticks(range(len(networks)), networks)
    axes.xaxis.tick_top()
    set_title(axes, theme, f"{title_of(rows)}: test error, %")
    if rows["marks_question"].notna().any():
        about = question_of(rows, "marks_question")
        sentence = f"{RING}: cannot be told from the column's best (about {about}, corrected)."
        add_caption(figure, theme, [sentence])
    return figure
