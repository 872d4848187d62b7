"""Evaluations of trained cells on other test sets, with the names of these cells."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stn_cluster.errors import UserError, unknown
from stn_cluster.evaluate_config import TEST_DISTORTIONS
from stn_cluster.grid import listed
from stn_cluster.registry import lookup, names
from stn_cluster.store.frames import as_frame
from stn_cluster.store.row_filters import FILTERS
from stn_cluster.store.schema import EVALUATIONS
from stn_cluster.store.store import Store

# Columns of the cell that was evaluated, and what they are called beside those of the test set.
_OF_THE_CELL = {
    "label": "label",
    "model": "model",
    "transform": "transform",
    "distortion": "trained_on",
    "seed": "seed",
    "dataset": "trained_dataset",
    "recipe": "recipe",
}
TEST_FILTERS = ("on", "severity", "worst_of", "status")
EVALUATION_FILTERS = (*(name for name in FILTERS if name != "status"), *TEST_FILTERS)
_ORDER = {name: place for place, name in enumerate(TEST_DISTORTIONS)}
_LISTS = ("predictions", "predictions_wide")


def load_evaluations(
    store: str | os.PathLike[str] | Store, *, predictions: bool = False, **filters: Any
) -> pd.DataFrame:
    """Loads the evaluations of each cell's current result: a row for each test set.

    Of each, the newest succeeded row counts, or the newest failed one. Those of earlier attempts at
    a cell are left out: they are due again.

    Args:
        store: a store, or its path or URI.
        predictions: whether the predicted classes of all images are loaded, too.
        filters: one value or several. dataset, recipe, model, transform, distortion, seed, key: of
            the cell, as in `load_results`. on ('clean', 'R', 'P:xy'), severity, worst_of, status:
            of the evaluation.

    Returns:
        The columns of `evaluations`, of which dataset, distortion, variant and canvas are the test
        set's; test_error (percent); on, the test distortion as it is asked for; and the cell's
        label, model, transform, trained_on, trained_dataset, seed, recipe. In the order of the
        table, then by test set. Times are UTC, without a time zone.

    Raises:
        UserError: there is no such filter.
        StoreError: there is no store, or a file in it is torn, foreign or newer.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    for name in filters:
        if name not in EVALUATION_FILTERS:
            raise UserError(unknown("filter", name, EVALUATION_FILTERS))
    of_test = {name: filters.pop(name) for name in TEST_FILTERS if name in filters}
    cells = opened.results(
        columns=["attempt", *_OF_THE_CELL], filters={**filters, "status": "succeeded"}
    )
    columns = [name for name in EVALUATIONS.names if predictions or name not in _LISTS]
    rows = opened.read("evaluations", columns=columns)
    rows = rows.filter(pc.is_in(rows["attempt"], pa.array(cells["attempt"], pa.string())))
    frame = as_frame(rows)
    frame["test_error"] = (100 * frame["n_wrong"] / frame["n_test"]).astype(float)
    readings = zip(frame["distortion"], frame["variant"], strict=True)
    frame["on"] = pd.Series([asked_name(*r) for r in readings], frame.index, dtype="str")
    named = cells[["attempt", *_OF_THE_CELL]].rename(columns=_OF_THE_CELL)
    named["place"] = range(len(named))
    frame = _newest(frame).merge(named, on="attempt")
    frame["rank"] = [_ORDER.get(name, len(_ORDER)) for name in frame["distortion"]]
    frame = frame.sort_values(["place", "dataset", "rank", *TEST_FILTERS[:3]], kind="stable")
    for name, wanted in of_test.items():
        if wanted is not None:
            frame = frame[frame[name].isin(listed(wanted))]
    return frame.drop(columns=["place", "rank"]).reset_index(drop=True)


def count_due(store: Store, **filters: Any) -> int:
    """Number of test sets that a cell was evaluated on before it was trained anew, and not since.

    Args:
        store: the store.
        filters: of the cells, as in `load_results`.

    Raises:
        UserError, StoreError: see `load_evaluations`.
    """
    chosen = {**filters, "status": "succeeded"}
    cells = store.results(columns=["key", "attempt"], filters=chosen)
    rows = as_frame(store.read("evaluations", columns=["evaluation", "key", "attempt"]))
    rows = rows[rows["key"].isin(cells["key"])]
    current = rows["attempt"].isin(cells["attempt"])
    done = set(rows.loc[current, "evaluation"])
    return len(set(rows.loc[~current, "evaluation"]) - done)


def asked_name(distortion: str, variant: str) -> str:
    """What a test distortion is asked for as: 'P', or 'P:xy' with another variant."""
    if distortion not in names("distortion"):  # of a plug-in
        return distortion if variant == "plain" else f"{distortion}:{variant}"
    entry = lookup("distortion", distortion)
    default = variant == entry.variants[0][0]
    return distortion if default else f"{distortion}:{entry.shown_variant(variant)}"


def _newest(frame: pd.DataFrame) -> pd.DataFrame:
    ranked = frame.assign(succeeded=frame["status"] == "succeeded")
    ranked = ranked.sort_values(["succeeded", "accepted_at"], kind="stable")
    one = ["evaluation", "attempt"]
    return ranked.drop_duplicates(one, keep="last").drop(columns="succeeded")
