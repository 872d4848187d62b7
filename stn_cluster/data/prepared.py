"""Data as a worker holds it: loaded and distorted once, kept on the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stn_cluster.data.datasets import Dataset, load_dataset
from stn_cluster.data.stream import (
    BLOCK,
    Block,
    Stream,
    as_images,
    distorted_test_set,
    make_distortion,
)
from stn_cluster.grid import Cell


@dataclass(frozen=True)
class LabelledImages:
    """Images and labels on the device."""

    images: Tensor  # training: (N, 28, 28) uint8; test: (M, 1, canvas, canvas) float32
    labels: Tensor  # (N,) int64
    n_classes: int


class PreparedData:
    """The data sets and test sets that a worker's cells have asked for so far."""

    def __init__(self, root: Path | None, device: torch.device) -> None:
        self.root = root
        self.device = device
        self._datasets: dict[str, Dataset] = {}
        self._train: dict[str, LabelledImages] = {}
        self._test: dict[tuple[str, str, str, int], LabelledImages] = {}

    def train(self, name: str) -> LabelledImages:
        """A data set's training images."""
        if name not in self._train:
            data = self._dataset(name)
            images, labels = data.train_images.to(self.device), data.train_labels.to(self.device)
            self._train[name] = LabelledImages(images, labels, data.n_classes)
        return self._train[name]

    def test(self, cell: Cell) -> LabelledImages:
        """The distorted test set of a cell."""
        name = (cell.dataset, cell.distortion, cell.variant, cell.canvas)
        if name not in self._test:
            data = self._dataset(cell.dataset)
            images, labels = distorted_test_set(cell, data, self.device)
            self._test[name] = LabelledImages(images, labels, data.n_classes)
        return self._test[name]

    def feed(self, cell: Cell) -> Feed:
        """The stream of a cell's training batches."""
        return Feed(cell, self.train(cell.dataset))

    def _dataset(self, name: str) -> Dataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name, self.root)
        return self._datasets[name]


class Feed:
    """Distorted training batches by step: shared by all cells with the same stream."""

    def __init__(self, cell: Cell, data: LabelledImages) -> None:
        batch_size = cell.stream[-1]
        self.data = data
        self.distortion = make_distortion(cell)
        self.stream = Stream(cell.stream, self.distortion, len(data.labels), batch_size)
        self._number = -1
        self._block: Block | None = None

    @torch.no_grad()
    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch, 1, canvas, canvas) in 0 to 1 and labels (batch,) of one step."""
        number, row = divmod(step, BLOCK)
        if self._block is None or number != self._number:
            device = self.data.images.device
            drawn = self.stream.block(number)
            self._block = Block(drawn.indices.to(device), drawn.parameters.to(device))
            self._number = number
        indices = self._block.indices[row]
        images = as_images(self.data.images[indices])
        return self.distortion.apply(images, self._block.parameters[row]), self.data.labels[indices]
