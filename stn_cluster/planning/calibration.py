"""Speed of this machine: a few steps of training or images of a test, for stores without a
history."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stn_cluster.data.cache import DataCache, DistortedTestSet
from stn_cluster.data.distorted_images import in_batches
from stn_cluster.grid import Cell
from stn_cluster.training.cell_evaluation import CellEvaluation
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.device import device_name
from stn_cluster.training.evaluation import batch_size

WARM_UP_STEPS = 3
LEAST_STEPS = 5


@dataclass(frozen=True)
class Measured:
    """What a few steps of a cell, or test images of one that is not trained, say of it."""

    seconds: float  # of the whole cell
    parameters: int
    n_test: int
    repeats: int  # versions of each base image in the test set
    device: str


def calibrate(cells: list[Cell], data_root: Path | None, seconds: float) -> list[Measured | None]:
    """Trains each cell for about `seconds`, or tests it on a batch, and throws the result away.

    What plug-ins print goes to standard error: it is none of the plan.

    Args:
        cells: what to train or to evaluate.
        data_root: folder of data files.
        seconds: time of each.

    Returns:
        None for a cell that cannot be trained or evaluated.

    Raises:
        UserError: a data set is missing or damaged.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has
    data = DataCache(data_root, device)
    try:
        with redirect_stdout(sys.stderr):
            return [_measure(cell, data, seconds) for cell in cells]
    finally:
        torch.set_num_threads(threads)


def _measure(cell: Cell, data: DataCache, seconds: float) -> Measured | None:
    data.train(cell)  # beforehand: without its files, no plan is right
    try:
        test = data.test(cell)
        if not cell.is_trained:
            return _evaluated(cell, test, data)
        loader, training = data.loader(cell), CellTraining(cell, test, data.device)
        started = time.perf_counter()
        steps = 0
        while not training.done and (
            steps < LEAST_STEPS or time.perf_counter() - started < seconds
        ):
            if training.step == WARM_UP_STEPS:
                started, steps = time.perf_counter(), 0
            training.train(*loader.batch(training.step))
            steps += 1
        if data.device.type == "cuda":
            torch.cuda.synchronize()
    except (Exception, SystemExit):  # a plug-in's; training it will say what
        return None
    return Measured(
        seconds=(time.perf_counter() - started) / max(1, steps) * cell.iterations,
        parameters=sum(p.numel() for p in training.model.parameters() if p.requires_grad),
        n_test=len(test.labels),
        repeats=test.repeats,
        device=device_name(data.device),
    )


def _evaluated(cell: Cell, test: DistortedTestSet, data: DataCache) -> Measured:
    started = time.perf_counter()
    images = next(in_batches(test.images, batch_size(test.images.shape)))
    few = replace(test, images=images, labels=test.labels[: len(images)], repeats=1)
    outcome = CellEvaluation(cell, few, data.device, data.root).outcome()
    return Measured(
        seconds=(time.perf_counter() - started) * len(test.labels) / len(images),
        parameters=outcome.parameters or 0,
        n_test=len(test.labels),
        repeats=test.repeats,
        device=device_name(data.device),
    )
