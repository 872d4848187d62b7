"""Models of plug-ins that do something else beside giving scores, and a pack mate of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from stn_cluster import register_model
from stn_cluster.grid import Cell
from stn_cluster.stn import Task
from support.packs import make_cells


class Linear(nn.Module):
    """A linear classifier that may do something before."""

    def __init__(self, before: Callable[[Linear, Tensor], object] = lambda net, images: None):
        super().__init__()
        self.scores = nn.Linear(28 * 28, 10)
        self.steps = 0
        self.before = before

    def forward(self, images: Tensor) -> Any:
        self.steps += self.training
        given = self.before(self, images)
        return self.scores((given if isinstance(given, Tensor) else images).flatten(1).float())


def pack_of(build: Callable[[Task], object]) -> tuple[Cell, Cell]:
    """A cell of a plug-in's model, and a pack mate with the same batches."""
    register_model("Mine")(build)
    mine, fcn = make_cells(models=["Mine", "FCN"])
    return mine, fcn


def doing(before: Callable[[Linear, Tensor], object]) -> tuple[Cell, Cell]:
    """A cell whose model does this before it gives scores, and a pack mate."""
    return pack_of(lambda task: Linear(before))


def assert_refused(error: str | None, *told: str) -> None:
    """Asserts that the model's cell failed with one line that has these parts."""
    assert error is not None
    assert len(error.splitlines()) == 1
    assert error.startswith("UserError: model 'Mine' ")
    for part in told:
        assert part in error


Given = Callable[[Linear, Tensor], object]
