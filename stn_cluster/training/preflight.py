"""Preflight of plug-ins: each is used once, on a few images, before workers start.

It runs in a process of its own (`cluster/preparation.py`), which the plug-in may end, or in which
it may be stuck.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from stn_cluster.data.cache import BatchLoader, DistortedTestSet, LabelledImages
from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.data.stream import distorted_test_set
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import load_plugins
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.checked_model import component_of

FEW = 4  # images; batch normalisation needs more than one
CPU = torch.device("cpu")
# What is missing here may be there on the workers, which may have GPUs.
_OF_A_GPU = ("cuda", "nvidia", "gpu")
_LIBRARIES = ("site-packages", str(Path(__file__).parents[1]))


def main(cells: Sequence[tuple[str, Sequence[str]]], data_root: str | None) -> None:
    """Checks cells; writes what is wrong, if anything, to the standard output as JSON.

    Args:
        cells: each cell as JSON, and the folders to search for its plug-ins.
        data_root: folder of the data sets' files.
    """
    output = os.dup(1)
    os.dup2(2, 1)  # what plug-ins print is none of the answer
    wrong = None
    try:
        for text, folders in cells:
            cell = Cell.model_validate_json(text)
            load_plugins(cell.plugins, [Path(folder) for folder in folders])
            check_cell(cell, Path(data_root) if data_root else None)
    except UserError as error:
        wrong = str(error)
    if wrong is not None and any(word in wrong.lower() for word in _OF_A_GPU):
        wrong = None
    os.write(output, json.dumps(wrong).encode())
    os._exit(0)  # whatever a plug-in still has running


def check_cell(cell: Cell, data_root: Path | None) -> None:
    """Loads a cell's data set, distorts a few images, and tests and trains its model on them.

    Raises:
        UserError: a component fails, or does not give what it should.
    """
    data = _few(load_dataset(cell.dataset, data_root))
    with _named(f"distortion {cell.distortion_name!r}"):
        test_images, test_labels = distorted_test_set(cell, data, CPU)
        train = LabelledImages(data.train_images, data.train_labels, data.n_classes)
        images, labels = BatchLoader(cell, train).batch(0)
    test = DistortedTestSet(
        test_images, test_labels, data.n_classes, cell.key, data.test_repeats, data.class_names
    )
    with _named(component_of(cell)[0]):
        run = CellTraining(cell, test, CPU)
        run.check_restorable()
        run.rehearse(images[:FEW], labels[:FEW])


def _few(data: Dataset) -> Dataset:
    train, test = (
        torch.arange(FEW) % len(labels) for labels in (data.train_labels, data.test_labels)
    )
    return Dataset(
        data.train_images[train],
        data.train_labels[train],
        data.test_images[test],
        data.test_labels[test],
        n_classes=data.n_classes,
        class_names=data.class_names,
    )


@contextmanager
def _named(component: str) -> Iterator[None]:
    """Names the component, and the line of its code, in errors that it raises within the block."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if not any(part in f.filename for part in _LIBRARIES)]
        where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise UserError(f"{component} fails on a first batch: {reason}{where}") from error
