"""Preflight: what a plug-in would fail at in training is told from a few images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.packs import make_cells
from torch import Tensor, nn

from stn_cluster import register_dataset, register_distortion, register_model, register_transform
from stn_cluster.data.datasets import Dataset
from stn_cluster.errors import UserError
from stn_cluster.stn import AffineGrid, Task
from stn_cluster.training.preflight import check_cell


class Linear(nn.Module):
    def __init__(self, task: Task, outputs: int | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(task.canvas**2)
        self.scores = nn.Linear(task.canvas**2, outputs or task.n_classes)

    def forward(self, images: Tensor) -> Any:
        return self.scores(self.norm(images.flatten(1)))


def three_classes(root: Path | None) -> Dataset:
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    return Dataset(images, [0, 1, 2], images, [0, 1, 2], n_classes=3)


def raises(error: BaseException) -> Callable[..., Any]:
    def raise_it(*arguments: object) -> None:
        raise error

    return raise_it


class Still:
    canvas = 28
    apply = staticmethod(lambda images, parameters: images)
    draw = staticmethod(lambda rng, n: rng.random((n, 1)))


def test_components_that_fit_together_pass_and_change_nothing_here() -> None:
    register_model("Mine")(Linear)
    register_transform("shear")(type("Shear", (AffineGrid,), {}))
    register_dataset("three")(three_classes)
    register_distortion("N")(lambda variant, canvas: Still())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    for fields in (
        {"models": ["Mine"], "dataset": "three"},
        {"models": ["Mine"], "distortions": ["N", "RTS"]},
        {"models": ["ST-FCN", "ST-CNN"], "transforms": ["shear"]},
    ):
        for cell in make_cells(**fields):
            check_cell(cell, None)
    assert torch.equal(torch.rand(1), expected)


FAULTS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "a model of 1,000 classes": (
        lambda: register_model("Mine")(lambda task: Linear(task, 1000)) and {},
        r"model 'Mine' gave float32 \(4, 1000\) on cpu; expected scores \(4, 10\)",
    ),
    "a model of another data set's classes": (
        lambda: (
            register_dataset("three")(three_classes)
            and register_model("Mine")(lambda task: Linear(task, 10))
            and {"dataset": "three"}
        ),
        r"model 'Mine' gave float32 \(4, 10\) on cpu; expected scores \(4, 3\)",
    ),
    "a model that cannot be built": (
        lambda: register_model("Mine")(lambda: None) and {},
        r"model 'Mine' fails on a first batch: TypeError: .* takes 0 positional arguments",
    ),
    "a model of another canvas": (
        lambda: register_model("Mine")(lambda task: Linear(Task(canvas=32))) and {},
        "model 'Mine' fails on a first batch: RuntimeError: ",
    ),
    "a model that writes": (
        lambda: (
            register_model("Mine")(
                lambda task: nn.Sequential(nn.Flatten(), nn.Hardtanh(0.2, 0.7, inplace=True))
            )
            and {}
        ),
        "model 'Mine' changed the images of the test set",
    ),
    "a model that exits": (
        lambda: register_model("Mine")(raises(SystemExit("done"))) and {},
        r"model 'Mine' fails on a first batch: SystemExit: done \(test_preflight.py, line \d+\)",
    ),
    "a data set of strings": (
        lambda: (
            register_dataset("odd")(
                lambda root: Dataset(*[torch.zeros(1, 28, 28, dtype=torch.uint8), ["a"]] * 2)
            )
            and register_model("Mine")(Linear)
            and {"dataset": "odd"}
        ),
        "data set 'odd' does not load: ValueError: train_labels: one whole number",
    ),
    "a distortion on another canvas": (
        lambda: (
            register_distortion("N", canvas=32)(lambda variant, canvas: Still())
            and {"models": ["FCN"], "distortions": ["N"]}
        ),
        "distortion 'N' has a canvas of 28 pixels; the config asks for 32",
    ),
    "a distortion that fails": (
        lambda: (
            register_distortion("N")(lambda variant, canvas: Failing())
            and {"models": ["FCN"], "distortions": ["N"]}
        ),
        "distortion 'N' fails on a first batch: ZeroDivisionError: no size",
    ),
}


class Failing(Still):
    apply = staticmethod(raises(ZeroDivisionError("no size")))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_component(fault: str) -> None:
    register, told = FAULTS[fault]
    [cell] = make_cells(**({"models": ["Mine"]} | register()))
    with pytest.raises(UserError, match=told):
        check_cell(cell, None)
