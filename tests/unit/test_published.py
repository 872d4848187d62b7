"""The results that this repository publishes: what they say of themselves still holds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stn_cluster.grid import Cell

RESULTS = Path(__file__).parents[2] / "results"
STORES = sorted(path.parent.name for path in RESULTS.glob("*/cells"))


def rows(store: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / store / "cells")


@pytest.mark.parametrize("store", STORES)
def test_every_published_key_is_that_of_its_spec(store: str) -> None:
    published = rows(store)
    assert len(published)
    for row in published.itertuples():
        cell = Cell.model_validate_json(str(row.spec))
        assert cell.key == row.key, row.label
        named = (row.model, row.transform, row.distortion, row.seed, row.dataset, row.recipe)
        assert named == (
            *(cell.model, cell.transform, cell.distortion),
            *(cell.seed, cell.dataset, cell.recipe),
        )
        assert cell.label == row.label
