"""Which classes a network takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from stn_cluster.errors import UserError
from stn_cluster.figures.theme import LIGHT, Theme, add_caption, new_axes, new_figure, set_title

MOST_NUMBERED = 25  # classes up to which counts are written into the squares


def confusion_figure(
    results: pd.DataFrame, class_names: Sequence[str] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Draws how many test images of each class were taken for each, summed over the cells.

    Args:
        results: cells of one data set, as `load_results` gives them.
        class_names: by class; None: their numbers.
        theme: its colours.

    Raises:
        UserError: no cell has a confusion matrix, or they differ in their classes.
    """
    counted = results[results["confusion"].notna()]
    if counted.empty:
        raise UserError("there is nothing to draw: no cell has a confusion matrix")
    sizes = {len(counts) for counts in counted["confusion"]}
    if len(sizes) > 1 or counted["dataset"].nunique() > 1:
        raise UserError("the cells are of several data sets; choose one with --dataset")
    counts = np.sum([np.asarray(one) for one in counted["confusion"]], axis=0)
    classes = round(len(counts) ** 0.5)
    counts = counts.reshape(classes, classes)
    wrong = np.where(np.eye(classes, dtype=bool), 0, counts)
    side = min(24.0, 5 + 0.75 * classes)
    figure = new_figure(theme, side, side)
    (axes,) = new_axes(figure, theme)
    shown = np.ma.masked_equal(wrong, 0)
    norm = LogNorm(1, max(2, int(wrong.max())))
    axes.imshow(shown, cmap=theme.colormap, norm=norm)
    if classes <= MOST_NUMBERED:
        for true, predicted in zip(*np.nonzero(counts), strict=True):
            ink = theme.text
            if true != predicted:
                ink = "black" if norm(wrong[true, predicted]) > 0.5 else "white"
            count = f"{counts[true, predicted]:,}"
            size = 7 if true != predicted else 5
            axes.text(predicted, true, count, ha="center", va="center", color=ink, fontsize=size)
        known = class_names if class_names and len(class_names) == classes else range(classes)
        names = [str(name) for name in known]
        turned = 90 if max(map(len, names)) > 3 else 0
        axes.set_xticks(range(classes), names, rotation=turned)
        axes.set_yticks(range(classes), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    labels = list(counted["label"])
    title = labels[0] if len(labels) == 1 else f"{len(labels)} cells"
    set_title(axes, theme, f"{title}: {wrong.sum():,} of {counts.sum():,} images wrong")
    if len(labels) > 1:
        shown_labels = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
        add_caption(figure, theme, [shown_labels])
    return figure
