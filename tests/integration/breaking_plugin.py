"""A plug-in for tests: models that break in the ways that users' models do."""

from __future__ import annotations

import os

import torch
from torch import nn

from stn_cluster import register_model


class Linear(nn.Module):
    """Scores straight from the pixels."""

    def __init__(self, task: object) -> None:
        super().__init__()
        self.scores = nn.Linear(28 * 28, 10)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        scores: torch.Tensor = self.scores(images.flatten(1))
        return scores


@register_model("Raises")
class Raises(Linear):
    """Raises at its third step."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            raise RuntimeError("broken on purpose")
        return super().forward(images)


@register_model("Diverges")
class Diverges(Linear):
    """Its loss is not a number from the third step on."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (float("nan") if self.calls > 2 else 1.0)


@register_model("Dies")
class Dies(Linear):
    """Takes its process with it."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            os._exit(17)
        return super().forward(images)
