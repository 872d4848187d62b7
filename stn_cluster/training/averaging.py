"""A running average of a model's weights, tested and kept in place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from stn_cluster.training.optimizers import Group


class WeightAverage:
    """Of all that is trained: one tensor a group of parameters.

    Args:
        groups: the optimiser's.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._averages = [group.values.clone() for group in groups]

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Moves the average towards the present weights by a part, () in 0 to 1; 1 copies them."""
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
        """What is needed to go on."""
        return self._averages

    def load_state_dict(self, state: Sequence[Tensor]) -> None:
        """Puts a `state` back."""
        for average, found in zip(self._averages, state, strict=True):
            average.copy_(found)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for group, value in zip(self._groups, values, strict=True):
            group.values.copy_(value)
