"""Training's arithmetic, held to the bit: the losses of each kind of cell against those on record.

A change that alters one of them gives published keys other numbers: the component that it is in
needs a new revision. `python tests/unit/training/test_losses.py` then puts the new ones on record.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from stn_cluster.config_file import parse_config
from stn_cluster.data.cache import DataCache
from stn_cluster.data.mnist_files import find
from stn_cluster.grid import Cell
from stn_cluster.registry import resolve
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.device import device_name

RECORD = Path(__file__).with_name("losses.json")
STEPS = 20
TOLD = (1, 10, 20)  # the steps whose losses are on record
DATASETS = ("digits", "mnist")
# All of it, so that no recipe of the registry has a say.
RECIPE = {
    "name": "smoke",
    "iterations": STEPS,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 0.004,
    "schedule": "one-cycle",
    "step_every": None,
    "step_factor": 0.1,
    "warmup": 0.15,
    "momentum": 0.0,
    "beta2": 0.99,
    "weight_decay": 0.01,
    "decay": "all",
    "localisation_rate": 0.5,
    "muon_rate": None,
    "label_smoothing": 0.1,
    "dropout": 0.0,
    "ema": 0.0,
    "image_jitter": 0.0,
    "theta_jitter": 0.0,
    "filters": 8,
    "hidden_units": 32,
    "transformer_size": 28,
    "initialisation": "pytorch",
    "precision": "float32",
    "evaluate_every": None,
    "by_model": {},
}


def cells_of(dataset: str) -> list[Cell]:
    """The eight rows, on R and RTS."""
    fields = {"dataset": dataset, "distortions": ["R", "RTS:rotated-frame"], "recipe": RECIPE}
    return resolve(parse_config(fields))


def losses(cell: Cell, data: DataCache) -> list[float]:
    """The mean training loss of each step that is told."""
    run = CellTraining(cell, data.test(cell), data.device)
    feed = data.loader(cell)
    while not run.done:
        run.train(*feed.batch(run.step))
    return [point.train_loss for point in run.curve if point.step in TOLD]


def name(cell: Cell) -> str:
    return f"{cell.model}/{cell.transform}/{cell.distortion.partition(':')[0]}"


def data_root() -> Path:
    beside = Path(__file__).parents[4] / "shared" / "data"
    return Path(os.environ.get("STN_CLUSTER_DATA") or beside)


def here() -> dict[str, str]:
    """Everything besides the code that affects the bits."""
    device = device_name(torch.device("cpu"))
    return {"device": device, "torch_version": str(torch.__version__)}


def prepared(dataset: str) -> DataCache:
    root = data_root()
    if dataset == "mnist" and not find(root):
        pytest.skip(f"MNIST is not in {root}")
    return DataCache(root, torch.device("cpu"))


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_kind_of_cell_has_the_losses_on_record_to_the_last_bit(dataset: str) -> None:
    record: dict[str, Any] = json.loads(RECORD.read_text())
    recorded, found = record["on"], here()
    if recorded != found:
        pytest.skip(f"the record is of {recorded}, and this is {found}")
    data = prepared(dataset)
    cells = cells_of(dataset)
    assert len(cells) == 16
    assert {name(cell): losses(cell, data) for cell in cells} == record[dataset]


def main() -> None:
    """Puts the losses of the present code on record."""
    torch.set_num_threads(1)
    record: dict[str, Any] = {"on": here()}
    for dataset in DATASETS:
        data = prepared(dataset)
        record[dataset] = {name(cell): losses(cell, data) for cell in cells_of(dataset)}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
