"""Parts of evaluations that figures draw: those of networks that one recipe trained."""

from __future__ import annotations

import pandas as pd

from stn_cluster.errors import UserError
from stn_cluster.evaluate_config import CLEAN
from stn_cluster.figures.table_parts import network_name


def plain_successes(means: pd.DataFrame) -> pd.DataFrame:
    """Means of tests that succeeded and drew each image once."""
    return means[(means["status"] == "succeeded") & (means["worst_of"] == 1)]


def drawn_means(means: pd.DataFrame) -> pd.DataFrame:
    """Means that a figure shows: succeeded ones, each image drawn once.

    Args:
        means: as `evaluation_means` gives them.

    Returns:
        Also `network` and `test`: the names of what was tested, and on what. `clean` has severity
        0, also where that is what a network was trained on.

    Raises:
        UserError: there are none, or they are of several data sets or recipes.
    """
    rows = plain_successes(means)
    if rows.empty:
        raise UserError("there is nothing to draw: `stn-cluster evaluate` makes evaluations")
    if len(rows[["trained_dataset", "recipe"]].drop_duplicates()) > 1:
        raise UserError("a figure is of one data set and recipe; choose with --dataset, --recipe")
    several = rows["dataset"].nunique() > 1
    return rows.assign(
        network=[network_name(row) for row in rows.to_dict("records")],
        test=rows["on"] + (" of " + rows["dataset"] if several else ""),
        severity=rows["severity"].where(rows["on"] != CLEAN, 0.0),
    )
