"""Real pictures, of sizes and colours that the paper does not have, are learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.packs import train
from support.photographs import write_archive

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.registry import resolve

RECIPE = {
    "name": "fast",
    "iterations": 80,
    "batch_size": 32,
    "filters": 8,
    "hidden_units": 64,
    "by_model": {},
}


def errors(root: Path, name: str, **fields: object) -> dict[str, float]:
    """Percent of the test images that each model gets wrong, by label."""
    recipe = RECIPE | fields.pop("recipe", {})  # type: ignore[operator]
    cells = resolve(parse_config({"dataset": name, "recipe": recipe, **fields}), root)
    outcomes = train(cells, DataCache(root, torch.device("cpu")))
    found = {}
    for cell in cells:
        assert outcomes[cell.key].error is None, outcomes[cell.key].error
        error = outcomes[cell.key].test_error
        assert error is not None
        found[cell.label] = error
    return found


def test_small_ones_by_the_connected_models(tmp_path: Path) -> None:
    write_archive(tmp_path, "small", n_classes=5, frame=8)
    found = errors(tmp_path, "small", models=["FCN", "ST-FCN"], distortions=["clean", "E"])
    assert len(found) == 8
    assert max(found.values()) < 40, found  # chance: 80


@pytest.mark.parametrize(("frame", "n_classes", "steps"), [(32, 43, 160), (64, 5, 25)])
def test_larger_ones_by_the_convolutional_models(
    frame: int, n_classes: int, steps: int, tmp_path: Path
) -> None:
    write_archive(tmp_path, "places", n_classes, frame)
    found = errors(
        tmp_path,
        "places",
        models=["CNN", "ST-CNN"],
        distortions=["clean"],
        recipe={"iterations": steps},
    )
    assert len(found) == 4
    assert max(found.values()) < 70 * (1 - 1 / n_classes), found  # chance: 100 (1 - 1/n)
