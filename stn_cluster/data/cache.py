"""Data in a worker: loaded and distorted once, kept on the device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stn_cluster.data.checked_distortion import CheckedDistortion
from stn_cluster.data.datasets import FRAME, Dataset, load_dataset
from stn_cluster.data.stream import (
    BLOCK,
    Block,
    Stream,
    as_images,
    distorted_test_set,
    training_distortion,
    user_distortion,
)
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup

FIRST_BATCHES = 3  # of a plug-in's distortion: their values are checked, and draws are noticed


@dataclass(frozen=True)
class LabelledImages:
    """Images and labels on the device."""

    images: Tensor  # training: (N, 28, 28) uint8; test: (M, 1, canvas, canvas) float32
    labels: Tensor  # (N,) int64
    n_classes: int


@dataclass(frozen=True)
class DistortedTestSet(LabelledImages):
    """Test set of a cell: image i is a version of base image i mod (M / repeats)."""

    name: str  # 16 hex digits: see `Cell.test_set`
    repeats: int  # versions of each base image
    class_names: tuple[str, ...] | None


class DataCache:
    """Cache of the data sets and test sets that a worker's cells have used so far."""

    def __init__(self, root: Path | None, device: torch.device) -> None:
        self.root = root
        self.device = device
        self._datasets: dict[str, Dataset] = {}
        self._train: dict[str, LabelledImages] = {}
        self._test: dict[str, DistortedTestSet] = {}

    def train(self, name: str) -> LabelledImages:
        """A data set's training images."""
        if name not in self._train:
            data = self._dataset(name)
            images, labels = data.train_images.to(self.device), data.train_labels.to(self.device)
            self._train[name] = LabelledImages(images, labels, data.n_classes)
        return self._train[name]

    def test(self, cell: Cell, progressed: Callable[[], None] = lambda: None) -> DistortedTestSet:
        """The distorted test set of a cell; `progressed` is called after each distorted batch."""
        name = cell.test_set(FRAME)
        if name not in self._test:
            data = self._dataset(cell.dataset)
            images, labels = distorted_test_set(cell, data, self.device, progressed)
            self._test[name] = DistortedTestSet(
                images, labels, data.n_classes, name, data.test_repeats, data.class_names
            )
        return self._test[name]

    def loader(self, cell: Cell) -> BatchLoader:
        """The stream of a cell's training batches."""
        return BatchLoader(cell, self.train(cell.dataset))

    def _dataset(self, name: str) -> Dataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, self.root)
        return self._datasets[name]


class BatchLoader:
    """Distorted training batches by step, shared by all cells with the same stream.

    The draws of a block of steps are on the device, always at the same address.
    """

    def __init__(self, cell: Cell, data: LabelledImages) -> None:
        self.cell = cell
        self.data = data
        self.distortion = training_distortion(cell)
        self.stream = Stream(cell.stream, self.distortion, len(data.labels), cell.batch_size)
        # Whether `apply` of a plug-in's distortion draws: a CUDA graph would repeat one step's.
        self.draws = False
        self._number: int | None = None  # number of the loaded block
        self._block: Block | None = None
        self._of_plugin = lookup("distortion", cell.distortion_name).plugin is not None
        self._first = (
            FIRST_BATCHES if self._of_plugin else 0
        )  # number that is still checked closely
        # The next block is drawn ahead, so that a GPU need not wait; on a CPU no core is free. A
        # plug-in's code never runs beside a cell's, which has other random numbers.
        ahead = data.images.device.type == "cuda" and not self._of_plugin
        self._ahead = ThreadPoolExecutor(1) if ahead else None
        self._drawn: dict[int, Future[Block]] = {}

    def load(self, step: int) -> None:
        """Copies the draws of the block that contains a step to the device.

        Raises:
            UserError: a plug-in's distortion does not draw what it should.
        """
        number = step // BLOCK
        if number == self._number:
            return
        drawn = self._draw(number)
        if self._block is None:
            device = self.data.images.device
            self._block = Block(drawn.indices.to(device), drawn.parameters.to(device))
        else:
            self._block.indices.copy_(drawn.indices)
            self._block.parameters.copy_(drawn.parameters)
        self._number = number

    @torch.no_grad()
    def at(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Batch of a row, (1,) int64, of the loaded block: see `batch`."""
        assert self._block is not None
        indices = self._block.indices.index_select(0, row).squeeze(0)
        parameters = self._block.parameters.index_select(0, row).squeeze(0)
        images = as_images(self.data.images.index_select(0, indices))
        labels = self.data.labels.index_select(0, indices)
        return self.distortion.apply(images, parameters), labels

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch, 1, canvas, canvas) in 0 to 1 and labels (batch,) of one step.

        Raises:
            UserError: a plug-in's distortion does not give what it should.
        """
        self.load(step)
        device = self.data.images.device
        row = torch.tensor([step % BLOCK], device=device)
        if not self._of_plugin:
            return self.at(row)
        name, closely = ("apply", *self.cell.stream, step), self._first > 0
        with user_distortion(self.cell, device, *name, watched=closely) as state:
            images, labels = self.at(row)
        self.draws |= bool(state and state.drew)
        if closely and isinstance(self.distortion, CheckedDistortion):
            self.distortion.check_values(images)
        self._first -= closely
        return images, labels

    def _draw(self, number: int) -> Block:
        if self._of_plugin:
            name = ("draw", *self.cell.stream, number)
            with user_distortion(self.cell, torch.device("cpu"), *name):
                return self.stream.block(number)
        if self._ahead is None:
            return self.stream.block(number)
        drawn = self._drawn.pop(number, None) or self._ahead.submit(self.stream.block, number)
        self._drawn = {number + 1: self._ahead.submit(self.stream.block, number + 1)}
        return drawn.result()
