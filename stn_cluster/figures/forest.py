"""Forest plot: the errors of one distortion with their intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stn_cluster.figures.table_parts import network_name, one_column, question_of, title_of
from stn_cluster.figures.theme import (
    LIGHT,
    Theme,
    add_caption,
    add_legend,
    new_axes,
    new_figure,
    set_title,
)


def forest_figure(table: pd.DataFrame, distortion: str, theme: Theme = LIGHT) -> Figure:
    """Draws the errors of a column with their 95 % intervals, beside the published ones.

    Filled points cannot be told from the column's best, which is one of them; empty ones can;
    what could not be compared with it is a cross.

    Args:
        table: a `comparison_table` with intervals, of one data set and recipe.
        distortion: the column.
        theme: its colours.

    Raises:
        UserError: there is no such column, or nothing in it has a result.
    """
    column = one_column(table, distortion).iloc[::-1].reset_index(drop=True)
    figure = new_figure(theme, 16, 3 + 0.65 * len(column))
    (axes,) = new_axes(figure, theme)
    hue, published = theme.series[0], theme.series[1]
    axes.hlines(column.index, column["low"], column["high"], color=hue, linewidth=2)
    near, far = column["marked"].eq(True), column["marked"].eq(False)
    groups = (
        (near, "o", hue, "may be the best"),
        (far, "o", theme.background, "worse than the best"),
        (~near & ~far, "x", hue, "not compared"),
    )
    for chosen, marker, face, name in groups:
        if chosen.any():
            axes.plot(
                column["test_error_mean"][chosen],
                column.index[chosen],
                marker,
                color=hue,
                markerfacecolor=face,
                label=name,
            )
    if column["reference_error"].notna().any():
        axes.plot(
            column["reference_error"],
            column.index,
            "D",
            color=published,
            markersize=4,
            label="the paper's" + (", for MNIST" if column["dataset"].iloc[0] != "mnist" else ""),
        )
    axes.set_yticks(column.index, [network_name(row) for row in column.to_dict("records")])
    axes.set_ylim(-0.6, len(column) - 0.4)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=theme.faint, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("test error, %")
    set_title(axes, theme, f"{title_of(column)}: {distortion}")
    add_legend(figure, axes, theme)
    sentence = f"95 % intervals about {question_of(column)}."
    if column["marks_question"].notna().any():
        sentence += f" Filled: about {question_of(column, 'marks_question')}, corrected."
    add_caption(figure, theme, [sentence])
    return figure
