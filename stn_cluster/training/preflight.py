"""Preflight: plug-ins, torchvision's models and files of weights are used once, on a few images,
before workers start.

It runs in a process of its own (`cluster/preparation.py`), which the plug-in may end, or in which
it may be stuck.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from stn_cluster.data.cache import BatchLoader, DistortedTestSet, LabelledImages
from stn_cluster.data.datasets import Dataset, check_info, load_dataset
from stn_cluster.data.distorted_images import DistortedImages, Variation, distorted_test_set
from stn_cluster.errors import UserError
from stn_cluster.evaluations import EvaluationSet
from stn_cluster.grid import Cell
from stn_cluster.registry import known_plugin, load_plugins, opened_files
from stn_cluster.training.cell_evaluation import CellEvaluation
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.checked_model import component_of
from stn_cluster.training.fit import check_fit

FEW = 4  # images; batch normalisation needs more than one
CPU = torch.device("cpu")
# What is missing here may be there on the workers, which may have GPUs.
_OF_A_GPU = ("cuda", "nvidia", "gpu")
_LIBRARIES = ("site-packages", str(Path(__file__).parents[1]))


def main(
    cells: Sequence[tuple[str, Sequence[str]]] = (),
    tests: Sequence[tuple[str, Sequence[str]]] = (),
    data_root: str | None = None,
) -> None:
    """Checks cells and test sets; writes what is wrong, if anything, to the standard output as
    JSON.

    Args:
        cells: each cell as JSON, and the folders to search for its plug-ins.
        tests: the same of each test set of evaluations.
        data_root: folder of the data sets' files.
    """
    output = os.dup(1)
    os.dup2(2, 1)  # what plug-ins print is none of the answer
    wrong = None
    try:
        for text, folders in cells:
            cell = Cell.model_validate_json(text)
            load_plugins(cell.plugins, [Path(folder) for folder in folders])
            with opened_files() as opened:
                check_cell(cell, Path(data_root) if data_root else None)
            check_reads(cell, opened, Path(data_root) if data_root else None)
        for text, folders in tests:
            test = EvaluationSet.model_validate_json(text)
            load_plugins(test.cell.plugins, [Path(folder) for folder in folders])
            check_test(test, Path(data_root) if data_root else None)
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
    trained_here = cell.is_trained and not cell.plugins
    if trained_here and cell.data.n_classes is not None:
        check_fit(cell, cell.data.n_classes)
        return
    whole = load_dataset(cell.dataset, data_root)
    check_info(cell, whole)
    data = _few(whole)
    with _named(f"distortion {cell.distortion_name!r}"):
        test_images, test_labels = distorted_test_set(cell, data, CPU)
    test = DistortedTestSet(
        test_images, test_labels, data.n_classes, cell.key, data.test_repeats, data.class_names
    )
    if not cell.is_trained:
        with _named(component_of(cell)[0]):
            CellEvaluation(cell, test, CPU, data_root).outcome()
        return
    with _named(f"distortion {cell.distortion_name!r}"):
        train = LabelledImages(data.train_images, data.train_labels, data.n_classes)
        images, labels = BatchLoader(cell, train).batch(0)
    with _named(component_of(cell)[0]):
        run = CellTraining(cell, test, CPU)
        run.check_restorable()
        run.rehearse(images[:FEW], labels[:FEW])


def check_test(test: EvaluationSet, data_root: Path | None) -> None:
    """Draws the parameters of a test set of a few images, at its severity.

    Raises:
        UserError: the distortion does not say how it scales, or fails.
    """
    data = _few(load_dataset(test.cell.dataset, data_root))
    variation = Variation(severity=test.severity, moves=test.moves)
    with _named(f"distortion {test.cell.distortion_name!r}"):
        DistortedImages(test.cell, data, CPU, variation).parameters()


def check_reads(cell: Cell, opened: Sequence[Path], data_root: Path | None) -> None:
    """Checks that the cell's plug-ins bring all files of their folders that were read.

    Raises:
        UserError: one would be absent on the workers, and its content in no key.
    """
    plugins = list(filter(None, map(known_plugin, sorted(cell.digests))))
    # Of two plug-ins in one folder, either may bring it.
    present = {path.resolve() for plugin in plugins for path in plugin.brought.files.values()}
    for plugin in plugins:
        if plugin.brought.left_out:  # a line says so already
            continue
        for path in plugin.brought.not_brought(opened):
            if path.resolve() in present:
                continue
            if data_root is None or data_root.absolute() not in path.parents:
                raise UserError(
                    f"plug-in {plugin.module!r} reads {path}, which its source does not name, so "
                    f"that workers would not have it: write {path.name!r}, or the name of a folder "
                    "of such files, in the source, or keep it in --data-root"
                )


def _few(data: Dataset) -> Dataset:
    train, test = (
        torch.arange(FEW) % len(labels) for labels in (data.train_labels, data.test_labels)
    )
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
        test_repeats=1,
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
