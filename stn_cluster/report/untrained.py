"""Cells that were evaluated and not trained, beside those that were."""

from __future__ import annotations

import pandas as pd

from stn_cluster.grid import NO_TRAINING

BESIDE_TRAINED = " (weights)"  # ends the name of one whose name a trained model has


def with_untrained(cells: pd.DataFrame, *, alone: bool) -> pd.DataFrame:
    """Puts cells without training under every recipe of their data set.

    Beside a trained model of the same name, one is called 'NAME (weights)'.

    Args:
        cells: rows with dataset, recipe, model and transform.
        alone: whether they also keep their own recipe, `none`, where there are others.
    """
    untrained = cells["recipe"] == NO_TRAINING
    if not untrained.any():
        return cells
    trained, others = cells[~untrained], cells[untrained]
    recipes = trained[["dataset", "recipe"]].drop_duplicates()
    standing = others.drop(columns="recipe").merge(recipes, on="dataset")
    # Its row is its own also beside a model of the same name that was trained.
    names = ["dataset", "model", "transform"]
    taken = set(trained[names].itertuples(index=False, name=None))
    clash = [name in taken for name in standing[names].itertuples(index=False, name=None)]
    standing.loc[clash, "model"] = standing.loc[clash, "model"] + BESIDE_TRAINED
    if not alone:
        others = others[~others["dataset"].isin(trained["dataset"])]
    return pd.concat([trained, standing[list(cells.columns)], others], ignore_index=True)
