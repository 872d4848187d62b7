"""A plug-in for tests: models that break in the ways that users' models do."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import torch
from torch import nn

from stn_cluster import register_model
from stn_cluster.stn.models import Task


class Linear(nn.Module):
    """Computes scores directly from the pixels."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.scores = nn.Linear(task.canvas**2, 10)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        scores: torch.Tensor = self.scores(images.flatten(1))
        return scores


@register_model("Linear")
class Plain(Linear):
    """Model that does not break."""


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
    """Kills its process, after a last word."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            print("farewell", end="")
            os._exit(17)
        return super().forward(images)


@register_model("Hoards")
class Hoards(Linear):
    """Asks for more memory than its process may have."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + 2**28
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            images = images + torch.zeros(2**30).sum()
        return super().forward(images)


@register_model("Swells")
class Swells(Linear):
    """Takes four gigabytes at its third step, and keeps them for a while."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            kept = torch.ones(2**30)
            time.sleep(20)
            images = images * kept[0]
        return super().forward(images)


@register_model("Slow")
class Slow(Linear):
    """Sleeps at every step."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return super().forward(images)


@register_model("Sticks")
class Sticks(Linear):
    """Blocks for a minute in its third step."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            print("sticks here", flush=True)
            time.sleep(60)
        return super().forward(images)


@register_model("Prints")
class Prints(Linear):
    """Prints its step."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        print(f"forward {self.calls}")
        return super().forward(images)
