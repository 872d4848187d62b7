"""Keys of what is published and shipped: no change of the code may change them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from stn_cluster.config_file import load_config
from stn_cluster.grid import Cell, short_hash
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve

ROOT = Path(__file__).parents[2]
STORES = sorted(path.parent for path in ROOT.glob("results/*/cells"))
# How many cells a config has, and the hash of their keys. Both follow what is changed on purpose
# (the recipe `fast`, the plain reading of RTS), and nothing else.
CONFIGS = {
    "mnist": (96, "6e751f357718f329"),
    "mnist-v1": (32, "74e05e2726824f49"),
    "paper": (96, "9e19767be3af0f37"),
    "quickstart": (32, "67b73f145f222a0a"),
    "readings": (10, "e14bf3c70a8dd4d9"),
    "readings-of-cnn": (6, "daac077eea47182d"),
    "readings-of-p": (8, "6df70281468ebe61"),
    "smoke": (32, "afb02abe489813e0"),
}


def published() -> Iterator[tuple[str, Cell]]:
    """Key and cell of each published row."""
    for store in STORES:
        rows = pd.read_parquet(store / "cells", columns=["key", "spec"])
        for key, spec in rows.itertuples(index=False):
            yield key, Cell.model_validate_json(spec)


def test_published_rows_keep_their_keys_and_streams() -> None:
    rows = list(published())
    assert len(rows) >= 40
    for key, cell in rows:
        recipe = Recipe.model_validate(cell.settings)
        again = recipe.model_dump(mode="json", exclude_defaults=True)
        assert cell.key == cell.model_copy(update={"settings": again}).key == key, cell.label
        place = (cell.dataset, cell.distortion.partition(":")[0], cell.variant, cell.canvas)
        jitter = [f"image_jitter={recipe.image_jitter}"] if recipe.image_jitter else []
        assert cell.stream == (*place, cell.seed, recipe.batch_size, *jitter)


@pytest.mark.parametrize("config", sorted(path.stem for path in ROOT.glob("configs/*.yaml")))
def test_shipped_configs_keep_their_keys(config: str) -> None:
    cells = resolve(load_config(ROOT / f"configs/{config}.yaml"))
    assert (len(cells), short_hash([cell.key for cell in cells], digits=16)) == CONFIGS[config]
