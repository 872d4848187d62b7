"""Known pose: how much of what was drawn the transformers undo."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.figures.theme import LIGHT, Theme, add_legend, new_axes, new_figure

# What is measured, with its unit.
MEASURES = {"degrees": "degrees", "log2_scale": "log2 of scale", "shift_px": "shift, px"}
MEASURES |= {"residual_px": "residual, px"}
MOST_ROWS = 300


def pose_figure(evaluations: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Draws what is left of the drawn pose by each cell's transformer, beside doing nothing.

    Args:
        evaluations: succeeded ones, as `load_evaluations` gives them.
        theme: its colours.

    Raises:
        UserError: no row has a known pose, or too many have.
    """
    known = evaluations[evaluations["pose_residual_px"].notna()].reset_index(drop=True)
    if known.empty:
        raise UserError("there is nothing to draw: the store has no evaluations with a known pose")
    if len(known) > MOST_ROWS:
        raise UserError(
            f"{len(known):,} evaluations are too many for a figure of known pose, which has "
            f"{MOST_ROWS} rows at most; choose with --model, --transform, --distortion or --seed"
        )
    measures = [name for name in MEASURES if known[f"pose_{name}"].notna().any()]
    figure = new_figure(theme, 5 + 4.5 * len(measures), 3 + 0.6 * len(known))
    panels = new_axes(figure, theme, 1, len(measures))
    figure.set_layout_engine("constrained", w_pad=0.12)  # inches, between the panels' numbers
    places = np.arange(len(known))[::-1]
    names = _names(known)
    for panel, measure in zip(panels, measures, strict=True):
        left, nothing = known[f"pose_{measure}"], known[f"identity_{measure}"]
        panel.hlines(places, left, nothing, color=theme.faint, linewidth=2)
        # Points at 0 are whole, too.
        for values, number, label in ((nothing, 1, "without a"), (left, 0, "with its")):
            panel.plot(
                values,
                places,
                "o",
                color=theme.series[number],
                label=f"{label} transformer",
                clip_on=False,
            )
        panel.set_yticks(places, names if panel is panels[0] else [""] * len(names))
        panel.set_ylim(-0.6, len(known) - 0.4)
        panel.set_xlim(left=0)
        panel.grid(axis="x", color=theme.faint, linewidth=0.5)
        panel.set_axisbelow(True)
        panel.set_xlabel(MEASURES[measure])
    add_legend(figure, panels[0], theme)
    return figure


def _names(rows: pd.DataFrame) -> list[str]:
    """Name of each row: the cell, with data set and recipe if there are several, and its test."""
    several = len(rows[["trained_dataset", "recipe"]].drop_duplicates()) > 1
    names = []
    for row in rows.to_dict("records"):
        of = f" ({row['trained_dataset']}, {row['recipe']})" if several else ""
        at = f"@{row['severity']:g}" if row["severity"] != 1 else ""
        other = f" of {row['dataset']}" if row["dataset"] != row["trained_dataset"] else ""
        worst = f", worst of {row['worst_of']}" if row["worst_of"] > 1 else ""
        names.append(f"{row['label']}{of} on {row['on']}{at}{other}{worst}")
    return names
