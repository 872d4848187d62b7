"""Exponential moving average of a model's weights, tested and stored instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from stn_cluster.training.optimizers import Group


class WeightAverage:
    """Average of all trained parameters: one tensor per group.

    Args:
        groups: groups of the optimiser.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._averages = [group.values.clone() for group in groups]

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Moves the average towards the present weights by a weight, () in 0 to 1; 1 copies."""
        for average, group in zip(self._averages, self._groups, strict=True):
            average.lerp_(group.values, weight.to(average.dtype))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the model has the averaged weights."""
        present = [group.values.clone() for group in self._groups]
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(present)

    def state_dict(self) -> list[Tensor]:
        """State to resume from."""
        return self._averages

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Restores a `state_dict`."""
        for average, saved in zip(self._averages, state, strict=True):
            average.copy_(saved)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for group, value in zip(self._groups, values, strict=True):
            group.values.copy_(value)
