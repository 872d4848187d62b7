"""Failures in training: only the cell fails, unless the worker becomes unusable."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from support.packs import arithmetic, make_cells, train
from torch import nn

from stn_cluster import register_model
from stn_cluster.data.cache import DataCache
from stn_cluster.training.trainer import PackTrainer


def test_a_loss_that_is_not_finite_fails_that_cell_and_no_other(data: DataCache) -> None:
    cells = make_cells(models=["FCN", "CNN"], recipe={"by_model": {"CNN": {"learning_rate": 1e30}}})
    outcomes = {cell.model: train(cells, data)[cell.key] for cell in cells}
    assert outcomes["FCN"].error is None
    assert outcomes["CNN"].error is not None
    assert "the loss is not finite" in outcomes["CNN"].error
    assert outcomes["CNN"].n_test is None


@pytest.mark.usefixtures("registered")
def test_a_model_that_raises_fails_with_its_traceback_and_its_pack_mates_go_on(
    data: DataCache,
) -> None:
    @register_model("Breaks")
    class Breaks(nn.Module):
        def __init__(self, task: object) -> None:
            super().__init__()
            self.scores = nn.Linear(28 * 28, 10)
            self.calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 5:
                raise RuntimeError("this model breaks at its fifth step")
            scores: torch.Tensor = self.scores(images.flatten(1))
            return scores

    @register_model("Unborn")
    def unborn(task: object) -> nn.Module:
        raise ValueError("this one is never made")

    cells = make_cells(models=["Breaks", "Unborn", "FCN"])
    breaks, unborn_cell, fcn = (train(cells, data)[cell.key] for cell in cells)
    assert "this model breaks at its fifth step" in str(breaks.error)
    assert "Traceback" in str(breaks.error)
    assert breaks.iterations == 4
    assert "this one is never made" in str(unborn_cell.error)
    assert arithmetic(fcn) == arithmetic(train(cells[2:], data)[cells[2].key])


@pytest.mark.usefixtures("registered")
def test_a_model_that_ends_its_process_fails_and_its_pack_mates_go_on(data: DataCache) -> None:
    @register_model("Leaves")
    class Leaves(nn.Module):
        def __init__(self, task: object) -> None:
            super().__init__()
            self.scores = nn.Linear(28 * 28, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sys.exit("it has had enough")

    leaves, fcn = train(make_cells(models=["Leaves", "FCN"]), data).values()
    assert str(leaves.error).endswith("SystemExit: it has had enough\n")
    assert fcn.error is None


def test_each_cells_code_runs_in_its_turn(data: DataCache) -> None:
    cells = make_cells(models=["FCN", "CNN"])
    turns: list[str | None] = []
    for _ in PackTrainer(cells, data, turn=turns.append).run():
        pass
    assert turns[1::2] == [None] * (len(turns) // 2)
    keys = [cell.key for cell in cells]
    # Each is made, trained step by step, and tested.
    steps = cells[0].iterations
    assert [turn for turn in turns if turn] == [*keys, *keys * steps, *keys]


def test_a_cell_resolved_with_another_source_than_is_here_fails(data: DataCache) -> None:
    [cell] = make_cells(models=["FCN"])
    stale = cell.model_copy(update={"revisions": cell.revisions | {"model:FCN": "0123456789ab"}})
    [outcome] = train([stale], data).values()
    assert outcome.error is not None
    assert "model:FCN has been edited since this run began" in outcome.error


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: torch.empty(2**50, dtype=torch.uint8), "DefaultCPUAllocator: can't allocate"),
        (raising(MemoryError("none left")), "none left"),
        (raising(torch.OutOfMemoryError("CUDA out of memory")), "out of memory"),
        (raising(RuntimeError("CUDA error: device-side assert triggered")), "CUDA error"),
        (raising(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")), "cuDNN error"),
    ],
    ids=["a real allocation", "memory", "device memory", "device", "cuDNN"],
)
def test_where_memory_or_device_are_gone_the_worker_ends_and_no_cell_fails(
    data: DataCache, act: Callable[[], object], told: str
) -> None:
    class Greedy(nn.Flatten):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            act()
            return super().forward(images)

    register_model("Greedy")(lambda task: nn.Sequential(Greedy(), nn.Linear(28 * 28, 10)))
    with pytest.raises((RuntimeError, MemoryError), match=told):
        train(make_cells(models=["FCN", "Greedy"]), data)
