"""Dropout with random numbers of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """`nn.Dropout` (Srivastava et al. 2014) that draws from a generator, if it is given one.

    Args:
        p: the part of the activations that is left out in training, 0 to 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None  # on the device; None: torch's own

    def forward(self, activations: Tensor) -> Tensor:
        """Any shape; what is kept is scaled up by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return activations
        kept = torch.empty_like(activations).bernoulli_(1 - self.p, generator=self.generator)
        return activations * kept.mul_(1 / (1 - self.p))
