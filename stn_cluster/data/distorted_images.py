"""The fixed distorted test set of a cell, and its variations, made batch by batch.

Only a small one is in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stn_cluster.data.checked_distortion import CheckedDistortion
from stn_cluster.data.datasets import Dataset
from stn_cluster.data.distortions import CornerShift, Distortion, ScalableDistortion
from stn_cluster.data.random_state import RandomState, generator
from stn_cluster.data.stream import as_images, isolated_distortion, make_distortion, user_state
from stn_cluster.grid import Cell

TEST_BATCH = 1_000  # images distorted at a time, where these are small
BATCH_BYTES = 2**26  # most bytes of the images distorted at a time


def no_progress() -> None:
    """Is told of progress that nobody looks at."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a test set differs from the plain one of its distortion: by default it does not."""

    severity: float = 1.0  # 0 to 3: multiplies what was drawn, so that the same images get worse
    draw: int = 0  # 0 is the plain test set's; others are drawn anew
    moves: float = 1.0  # multiplies the standard deviation of P's moves


PLAIN = Variation()


class DistortedImages:
    """Distorted test images of a cell: the same for every model and seed.

    Args:
        cell, dataset, device: whose they are, of what, and where.
        variation: how they differ from the cell's plain test set.
    """

    def __init__(
        self, cell: Cell, dataset: Dataset, device: torch.device, variation: Variation = PLAIN
    ) -> None:
        self.cell = cell
        self.device = device
        self.variation = variation
        count = len(dataset.test_labels) * dataset.test_repeats
        self.shape = (count, dataset.channels, cell.canvas, cell.canvas)
        self._pixels = dataset.test_images
        self._kept: list[Tensor] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all distorted images."""
        return 4 * torch.Size(self.shape).numel()

    @property
    def kept_bytes(self) -> int:
        """Bytes of those that are in memory."""
        return 0 if self._kept is None else self.nbytes

    def keep(self, progressed: Callable[[], None] = no_progress) -> None:
        """Distorts all images once and keeps them; `progressed` is called after each batch.

        Raises:
            UserError: see `batches`.
        """
        kept = []
        for batch in self._distorted():
            kept.append(batch)
            progressed()
        self._kept = kept

    def release(self) -> None:
        """Keeps the images no more: each pass distorts them."""
        self._kept = None

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, each time (at most `size`, C, canvas, canvas) in 0 to 1.

        Raises:
            UserError: a plug-in's distortion does not give what it should.
        """
        for batch in self._distorted() if self._kept is None else self._kept:
            yield from torch.split(batch, size)

    def whole(self) -> Tensor:
        """All images, (N, C, canvas, canvas)."""
        return torch.cat(list(self.batches(len(self))))

    def distortion(self) -> Distortion:
        """What distorts them.

        Raises:
            UserError: a plug-in's does not give what it should, or cannot be of this severity.
        """
        distortion = make_distortion(self.cell)
        if self.variation.moves != 1:
            assert isinstance(distortion, CornerShift)
            distortion = replace(distortion, sigma=distortion.sigma * self.variation.moves)
        return distortion

    def parameters(self) -> Tensor:
        """How each image is distorted, (N, P), on the CPU.

        Raises:
            UserError: see `distortion`.
        """
        return self._drawn(self.distortion(), self._state())

    @property
    def _name(self) -> tuple[str | int, ...]:
        """Name of the draws."""
        cell, draw = self.cell, self.variation.draw
        name = ("test", cell.dataset, cell.distortion_name, cell.variant, cell.canvas)
        return (*name, draw) if draw else name

    def _state(self) -> RandomState | None:
        return user_state(self.cell, self.device, *self._name)

    def _drawn(self, distortion: Distortion, state: RandomState | None) -> Tensor:
        with isolated_distortion(self.cell, state):
            drawn = distortion.draw(generator(*self._name), len(self))
        if (severity := self.variation.severity) != 1:
            assert isinstance(distortion, ScalableDistortion)
            # Random numbers of its own: `apply` has the same ones at every severity.
            own = user_state(self.cell, torch.device("cpu"), "scaled", *self._name)
            with isolated_distortion(self.cell, own):
                drawn = distortion.scaled(drawn, severity)
        return torch.from_numpy(drawn)

    def _distorted(self) -> Iterator[Tensor]:
        cell, count = self.cell, len(self)
        distortion = self.distortion()
        state = self._state()  # one for the whole pass
        drawn = self._drawn(distortion, state)
        size = max(1, min(TEST_BATCH, BATCH_BYTES * count // self.nbytes))
        for first in range(0, count, size):
            places = torch.arange(first, min(first + size, count)) % len(self._pixels)
            images = as_images(self._pixels[places].to(self.device))
            parameters = drawn[first : first + size].to(self.device)
            with torch.no_grad(), isolated_distortion(cell, state):
                distorted = distortion.apply(images, parameters)
            if isinstance(distortion, CheckedDistortion):
                distortion.check_values(distorted)
            yield distorted


def in_batches(images: Tensor | DistortedImages, size: int) -> Iterator[Tensor]:
    """Images in order, at most `size` at a time."""
    if isinstance(images, DistortedImages):
        return images.batches(size)
    return iter(torch.split(images, size))


def distorted_test_set(
    cell: Cell,
    dataset: Dataset,
    device: torch.device,
    progressed: Callable[[], None] = no_progress,
) -> tuple[Tensor, Tensor]:
    """The whole distorted test set of a cell.

    Args:
        cell, dataset, device: whose it is, of what, and where.
        progressed: called after each batch.

    Returns:
        Images (M * repeats, C, canvas, canvas) in 0 to 1, and labels (M * repeats,).
    """
    images = DistortedImages(cell, dataset, device)
    images.keep(progressed)
    return images.whole(), labels_of(dataset, device)


def labels_of(dataset: Dataset, device: torch.device) -> Tensor:
    """(M * repeats,): image i is a version of base image i mod M."""
    return dataset.test_labels.repeat(dataset.test_repeats).to(device)
