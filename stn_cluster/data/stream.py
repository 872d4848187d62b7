"""The stream of a cell: the images of each training step, and how each is distorted.

It is a function of (data set, distortion with variant and canvas, seed, batch size, image jitter,
step) alone. It is drawn on the CPU in blocks of steps, so that it depends neither on the device nor
on the other cells of the pack.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stn_cluster.data.checked_distortion import checked
from stn_cluster.data.distortions import Distortion, GridDistortion, Spline
from stn_cluster.data.isolation import isolated
from stn_cluster.data.jitter import ElasticJitter
from stn_cluster.data.random_state import RandomState, generator, seed_of
from stn_cluster.dataset_info import WHITE
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.registry import lookup

BLOCK = 64  # steps drawn at a time


@dataclass(frozen=True)
class Block:
    """The draws of `BLOCK` steps."""

    indices: Tensor  # (BLOCK, batch) int64, into the training images
    parameters: Tensor  # (BLOCK, batch, P) float32, the distortion's parameters


def make_distortion(cell: Cell) -> Distortion:
    """The distortion of a cell, on its canvas and in its variant.

    A plug-in's is given the data set's frame and background too, if it takes them.

    Raises:
        UserError: a plug-in's is not a distortion on this canvas, or changed the process's
            settings.
    """
    entry = lookup("distortion", cell.distortion_name)
    make, images = entry.load(), _images_of(cell)
    if entry.plugin is None:
        distortion: Distortion = make(cell.variant, cell.canvas, **images)
        return distortion
    name = _component(cell)
    state = _random_state(torch.device("cpu"), "distortion", entry.name)
    with isolated(name, state):
        made = make(cell.variant, cell.canvas, **_taken(make, images))
    return checked(name, made, cell.canvas)


def _images_of(cell: Cell) -> dict[str, Any]:
    """Arguments of a distortion that come from the cell's data set: frame and background."""
    background = cell.data.background
    outside = tuple(value / WHITE for value in background) if any(background) else ()
    return {"frame": cell.data.frame, "background": outside}


def _taken(make: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a function has names for."""
    try:
        names = inspect.signature(make).parameters
    except (TypeError, ValueError):  # a class of C
        return {}
    return {name: value for name, value in arguments.items() if name in names}


def user_state(
    cell: Cell, device: torch.device, *name: str | int, watched: bool = False
) -> RandomState | None:
    """The random numbers that a plug-in's distortion draws from; None for a built-in one.

    Args:
        cell: a cell with the distortion.
        device: the device that it works on.
        name: name of the call, which alone determines the default generators that it may draw
            from beside the one that it is given.
        watched: whether draws on the host are noticed too.
    """
    if lookup("distortion", cell.distortion_name).plugin is None:
        return None
    state = _random_state(device, *name)
    if not watched:
        state.watch_only_the_gpu()
    return state


@contextmanager
def isolated_distortion(cell: Cell, state: RandomState | None) -> Iterator[None]:
    """Isolates what a plug-in's distortion does within the block; a built-in one's has no state."""
    if state is None:
        yield
        return
    with isolated(_component(cell), state):
        yield


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
    spline = Spline(canvas=cell.canvas, sigma=cell.image_jitter, on_frame=False, **_images_of(cell))
    return ElasticJitter(distortion, spline)


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
            torch.from_numpy(parameters).view(BLOCK, self.batch_size, parameters.shape[1]),
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
    """(N, H, W) or (N, C, H, W) uint8 -> (N, C, H, W) float32 in 0 to 1."""
    images = pixels if pixels.ndim == 4 else pixels.unsqueeze(1)
    return images.float() / 255
