"""A model and a transform."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cluster import register_model, register_transform
from stn_cluster.stn import GridGenerator, SpatialTransformer, Task, pixel_centres


@register_transform("shift")
class ShiftGrid(GridGenerator):
    """theta: a shift (x, y)."""

    points: Tensor

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.constant("points", pixel_centres(size))
        self.constant("identity", torch.zeros(2, dtype=torch.float64))

    def forward(self, theta: Tensor) -> Tensor:
        return (self.points + theta[:, None, :]).view(-1, *self.size, 2)


@register_model("ST-Linear", spatial=True, cost=1)
def st_linear(task: Task) -> nn.Module:
    """A transformer in front of a linear classifier."""
    assert task.transform is not None
    transformer = SpatialTransformer(
        task.channels, task.size, transform=task.transform, localisation="linear"
    )
    scores = nn.Linear(task.channels * task.canvas**2, task.n_classes)
    return nn.Sequential(transformer, nn.Flatten(), scores)
