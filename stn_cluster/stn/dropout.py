"""Dropout with its own random generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """`nn.Dropout` (Srivastava et al. 2014) that draws from `generator`, if that is set.

    Args:
        p: fraction of the activations that is dropped in training, 0 to 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None  # on the device; None: torch's own

    def forward(self, activations: Tensor) -> Tensor:
        """Drops activations of any shape; the others are scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return activations
        kept = torch.empty_like(activations).bernoulli_(1 - self.p, generator=self.generator)
        return activations * kept.mul_(1 / (1 - self.p))
