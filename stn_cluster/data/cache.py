"""Data in a worker: loaded and distorted once, kept on the device."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stn_cluster.data.checked_distortion import CheckedDistortion, check_repeated
from stn_cluster.data.datasets import Dataset, check_info, load_dataset
from stn_cluster.data.distorted_images import DistortedImages, labels_of, no_progress
from stn_cluster.data.stream import (
    BLOCK,
    Block,
    Stream,
    as_images,
    isolated_distortion,
    training_distortion,
    user_state,
)
from stn_cluster.grid import Cell
from stn_cluster.registry import check_dataset, lookup

KEPT_BYTES = 2**29  # most bytes of distorted test images that are kept
FIRST_BATCHES = 3  # of a plug-in's distortion: checked for their values, draws and repetition


@dataclass(frozen=True)
class LabelledImages:
    """Training images and labels on the device."""

    images: Tensor  # (N, H, W) or (N, 3, H, W) uint8
    labels: Tensor  # (N,) int64
    n_classes: int


@dataclass(frozen=True)
class DistortedTestSet:
    """Test set of a cell: image i is a version of base image i mod (M / repeats)."""

    images: Tensor | DistortedImages  # (M, C, canvas, canvas) float32
    labels: Tensor  # (M,) int64
    n_classes: int
    name: str  # 16 hex digits: see `Cell.test_set`
    repeats: int  # versions of each base image
    class_names: tuple[str, ...] | None


class DataCache:
    """Cache of the data sets and test sets that a worker's cells have used so far."""

    def __init__(self, root: Path | None, device: torch.device) -> None:
        self.root = root
        self.device = device
        self._datasets: dict[str, tuple[int | str, Dataset]] = {}  # with their revisions
        self._train: dict[str, tuple[Dataset, LabelledImages]] = {}
        self._test: dict[str, DistortedTestSet] = {}  # the one used last is the last

    def train(self, cell: Cell) -> LabelledImages:
        """The training images of a cell's data set.

        Raises:
            UserError: the data set cannot be loaded, or is another one than the cell was made for.
        """
        data = self.dataset(cell)
        whose, on_device = self._train.get(cell.dataset, (None, None))
        if whose is not data or on_device is None:
            images, labels = data.train_images.to(self.device), data.train_labels.to(self.device)
            on_device = LabelledImages(images, labels, data.n_classes)
            self._train[cell.dataset] = data, on_device
        return on_device

    def test(self, cell: Cell, progressed: Callable[[], None] = no_progress) -> DistortedTestSet:
        """The distorted test set of a cell; `progressed` is called after each distorted batch.

        Raises:
            UserError: see `train`; or a plug-in's distortion does not give what it should.
        """
        name = cell.test_set
        if (known := self._test.pop(name, None)) is None:
            data = self.dataset(cell)
            images = DistortedImages(cell, data, self.device)
            if images.nbytes <= KEPT_BYTES:
                self._make_room(images.nbytes)
                images.keep(progressed)
            else:
                next(images.batches(1))  # what is wrong with it is known before training
            labels = labels_of(data, self.device)
            known = DistortedTestSet(
                images, labels, data.n_classes, name, data.test_repeats, data.class_names
            )
        self._test[name] = known
        return known

    def loader(self, cell: Cell) -> BatchLoader:
        """The stream of a cell's training batches."""
        return BatchLoader(cell, self.train(cell))

    def dataset(self, cell: Cell) -> Dataset:
        """A cell's data set, on the CPU.

        Raises:
            UserError: see `train`.
        """
        revision = cell.revisions[f"dataset:{cell.dataset}"]
        known, data = self._datasets.get(cell.dataset, (None, None))
        if data is None or known != revision:
            check_dataset(cell, self.root)
            data = load_dataset(cell.dataset, self.root)
            self._datasets[cell.dataset] = revision, data
        check_info(cell, data)
        return data

    def _make_room(self, needed: int) -> None:
        """Makes test sets that were used long ago leave the memory."""
        kept = [t.images for t in self._test.values() if isinstance(t.images, DistortedImages)]
        for images in kept:
            if needed + sum(one.kept_bytes for one in kept) <= KEPT_BYTES:
                return
            images.release()


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
        self._name = f"distortion {cell.distortion_name!r}"
        self._of_plugin = lookup("distortion", cell.distortion_name).plugin is not None
        self._first = FIRST_BATCHES if self._of_plugin else 0  # still checked closely
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
        """Images (batch, C, canvas, canvas) in 0 to 1 and labels (batch,) of one step.

        Raises:
            UserError: a plug-in's distortion does not give what it should.
        """
        self.load(step)
        device = self.data.images.device
        row = torch.tensor([step % BLOCK], device=device)
        if not self._of_plugin:
            return self.at(row)
        name, closely = ("apply", *self.cell.stream, step), self._first > 0
        state = user_state(self.cell, device, *name, watched=closely)
        with isolated_distortion(self.cell, state):
            images, labels = self.at(row)
        self.draws |= bool(state and state.drew)
        if closely:
            if isinstance(self.distortion, CheckedDistortion):
                self.distortion.check_values(images)
            with isolated_distortion(self.cell, user_state(self.cell, device, *name)):
                again, _ = self.at(row)
            check_repeated(self._name, "images", images, again)
            self._first -= 1
        return images, labels

    def _draw(self, number: int) -> Block:
        if self._of_plugin:
            name = ("draw", *self.cell.stream, number)
            blocks = []
            for _ in range(1 + (self._first > 0)):
                state = user_state(self.cell, torch.device("cpu"), *name)
                with isolated_distortion(self.cell, state):
                    blocks.append(self.stream.block(number))
            check_repeated(self._name, "draws", blocks[0].parameters, blocks[-1].parameters)
            return blocks[0]
        if self._ahead is None:
            return self.stream.block(number)
        drawn = self._drawn.pop(number, None) or self._ahead.submit(self.stream.block, number)
        self._drawn = {number + 1: self._ahead.submit(self.stream.block, number + 1)}
        return drawn.result()
