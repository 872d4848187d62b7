"""The stream of a cell: the images of each training step, and how each is distorted.

It is a function of (data set, distortion with variant and canvas, seed, batch size, image jitter,
step) alone. It is drawn on the CPU in blocks of steps, so that it depends neither on the device nor
on the other cells of the pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_cluster.data.checked_distortion import CheckedDistortion, checked
from stn_cluster.data.datasets import FRAME, Dataset
from stn_cluster.data.distortions import Distortion, GridDistortion, Spline
from stn_cluster.data.isolation import isolated
from stn_cluster.data.jitter import ElasticJitter
from stn_cluster.data.random_state import RandomState, generator, seed_of
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup

BLOCK = 64  # steps drawn at a time
TEST_BATCH = 1_000  # images distorted at a time


@dataclass(frozen=True)
class Block:
    """The draws of `BLOCK` steps."""

    indices: Tensor  # (BLOCK, batch) int64, into the training images
    parameters: Tensor  # (BLOCK, batch, P) float32, the distortion's parameters


def make_distortion(cell: Cell) -> Distortion:
    """The distortion of a cell, on its canvas and in its variant.

    Raises:
        UserError: a plug-in's is not a distortion on this canvas, or changed the process's
            settings.
    """
    entry = lookup("distortion", cell.distortion_name)
    if entry.plugin is None:
        distortion: Distortion = entry.load()(cell.variant, cell.canvas)
        return distortion
    name = _component(cell)
    state = _random_state(torch.device("cpu"), "distortion", entry.name)
    with isolated(name, state):
        made = entry.load()(cell.variant, cell.canvas)
    return checked(name, made, cell.canvas)


@contextmanager
def user_distortion(
    cell: Cell, device: torch.device, *name: str | int, watched: bool = False
) -> Iterator[RandomState | None]:
    """Isolates what a plug-in's distortion does within the block.

    Args:
        cell: a cell with the distortion; with a built-in one, nothing is done.
        device: the device that it works on.
        name: name of the call, which alone determines the default generators that it may draw
            from beside the one that it is given.
        watched: whether draws on the host are noticed too.

    Yields:
        What it draws from; None for a built-in distortion.
    """
    if lookup("distortion", cell.distortion_name).plugin is None:
        yield None
        return
    state = _random_state(device, *name)
    if not watched:
        state.watch_only_the_gpu()
    with isolated(_component(cell), state):
        yield state


def _component(cell: Cell) -> str:
    return f"distortion {cell.distortion_name!r}"


def _random_state(device: torch.device, *name: str | int) -> RandomState:
    return RandomState(seed_of("user code", *name), device, user_code=True)


def training_distortion(cell: Cell) -> Distortion:
    """The distortion of a cell's training images, with its recipe's image jitter.

    Raises:
        UserError: the distortion cannot be combined with another.
    """
    distortion = make_distortion(cell)
    if not cell.image_jitter:
        return distortion
    if not isinstance(distortion, GridDistortion):
        raise UserError(f"image_jitter: distortion {cell.distortion!r} has no `grid` to combine")
    return ElasticJitter(distortion, Spline(cell.canvas, sigma=cell.image_jitter, on_frame=False))


@dataclass(frozen=True)
class Stream:
    """The draws of one stream, by block."""

    name: tuple[str | int, ...]  # `Cell.stream`
    distortion: Distortion
    n_images: int
    batch_size: int

    def block(self, number: int) -> Block:
        """The draws of steps number * BLOCK to (number + 1) * BLOCK - 1."""
        count = BLOCK * self.batch_size
        rng = generator("parameters", *self.name, number)
        parameters = self.distortion.draw(rng, count)
        indices = self._order(number * count, count)
        return Block(
            torch.from_numpy(indices).view(BLOCK, self.batch_size),
            torch.from_numpy(parameters).view(BLOCK, self.batch_size, -1),
        )

    def _order(self, first: int, count: int) -> NDArray[np.int64]:
        """Positions first to first + count - 1 of the endless sequence of shuffled epochs."""
        positions = np.arange(first, first + count)
        epochs, places = np.divmod(positions, self.n_images)
        order = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order[here] = _shuffle(self.name, int(epoch), self.n_images)[places[here]]
        return order


@lru_cache(maxsize=16)
def _shuffle(name: tuple[str | int, ...], epoch: int, n: int) -> NDArray[np.int64]:
    return generator("order", *name, epoch).permutation(n)


def as_images(pixels: Tensor) -> Tensor:
    """(N, 28, 28) uint8 -> (N, 1, 28, 28) float32 in 0 to 1; the background stays 0."""
    return pixels.view(-1, 1, FRAME, FRAME).float() / 255


@torch.no_grad()
def distorted_test_set(
    cell: Cell,
    dataset: Dataset,
    device: torch.device,
    progressed: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """The fixed distorted test set of a cell: the same for every model and seed.

    Args:
        cell, dataset, device: whose it is, of what, and where.
        progressed: called after each batch.

    Returns:
        Images (M * repeats, 1, canvas, canvas) in 0 to 1, and labels (M * repeats,).
    """
    distortion = make_distortion(cell)
    base = cell.distortion_name
    count = len(dataset.test_images) * dataset.test_repeats
    rng = generator("test", cell.dataset, base, cell.variant, cell.canvas)
    pixels = dataset.test_images.repeat(dataset.test_repeats, 1, 1).to(device)
    with user_distortion(cell, device, "test", cell.dataset, base, cell.variant, cell.canvas):
        parameters = torch.from_numpy(distortion.draw(rng, count)).to(device)
        parts = torch.split(pixels, TEST_BATCH), torch.split(parameters, TEST_BATCH)
        batches = []
        for some_pixels, some_parameters in zip(*parts, strict=True):
            batches.append(distortion.apply(as_images(some_pixels), some_parameters))
            progressed()
        images = torch.cat(batches)
    if isinstance(distortion, CheckedDistortion):
        distortion.check_values(images)
    return images, dataset.test_labels.repeat(dataset.test_repeats).to(device)
