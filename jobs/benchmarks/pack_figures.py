"""Time of a pack besides forward, backward and update: distortion, bookkeeping, tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.recipes import Recipe
from stn_cluster.registry import resolve
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.trainer import PackTrainer

Config = dict[str, Any]
FAMILIES = {"fully connected": ("FCN", "ST-FCN"), "convolutional": ("CNN", "ST-CNN")}


def pack_costs(config: Config, root: Path | None, steps: int) -> list[dict[str, Any]]:
    """For each distortion the pack of four fully connected cells, and that of four convolutional
    ones, on one thread: `steps` are timed, and the share is that of the recipe's own number."""
    torch.set_num_threads(1)
    data = DataCache(root, torch.device("cpu"))
    whole = Recipe.model_validate(resolve(parse_config(config))[0].settings).iterations
    recipe = config["recipe"] | {"iterations": steps}
    found = []
    for distortion in ("R", "RTS", "P", "E"):
        for family, models in FAMILIES.items():
            axes = {"distortions": [distortion], "models": list(models), "recipe": recipe}
            cells = resolve(parse_config(config | axes))
            for cell in cells:  # prepared once a worker
                data.loader(cell).batch(0)
                data.test(cell)
            trainer = PackTrainer(cells, data)
            with timed("compute") as core, timed("outcome") as test:
                started = time.perf_counter()
                for _ in trainer.run():
                    pass
                wall = time.perf_counter() - started
            around = (wall - core[0] - test[0]) / steps * whole + test[0]
            found.append(
                {
                    "pack": f"{family}, {distortion}",
                    "core_ms": 1e3 * core[0] / steps,
                    "around_ms": 1e3 * (wall - core[0] - test[0]) / steps,
                    "test_seconds": test[0],
                    "share": around / (around + core[0] / steps * whole),
                }
            )
    return found


@contextmanager
def timed(method: str) -> Iterator[list[float]]:
    """Adds up the seconds spent in a method of cells in training."""
    seconds = [0.0]
    original: Callable[..., Any] = getattr(CellTraining, method)

    def measured(self: CellTraining, *given: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(self, *given)
        finally:
            seconds[0] += time.perf_counter() - started

    with patch.object(CellTraining, method, measured):
        yield seconds
