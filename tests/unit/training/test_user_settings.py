"""Models of plug-ins that change settings of the process: only their own cell fails."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.packs import arithmetic, make_cells, train
from support.user_models import Linear, assert_refused, doing, pack_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from stn_cluster import register_transform
from stn_cluster.data.cache import DataCache
from stn_cluster.stn import AffineGrid, Task

KEPT: list[Any] = []  # what was entered ends with the object

SETTINGS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "grad mode from True to False": (
        lambda: torch._C._set_grad_enabled(False),
        torch.is_grad_enabled,
    ),
    "default dtype from torch.float32 to torch.float64": (
        lambda: torch.set_default_dtype(torch.float64),
        torch.get_default_dtype,
    ),
    "default device": (lambda: torch.set_default_device("cpu"), torch._C._len_torch_function_stack),
    "number of threads from 1 to 2": (lambda: torch.set_num_threads(2), torch.get_num_threads),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "torch's matmul precision|matrix products on the CPU": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "anomaly detection": (
        lambda: torch.autograd.set_detect_anomaly(True),
        torch.is_anomaly_enabled,
    ),
    "autocast on the CPU": (
        lambda: torch.set_autocast_enabled("cpu", True),
        lambda: torch.is_autocast_enabled("cpu"),
    ),
    "cudnn.benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: torch.backends.cudnn.benchmark,
    ),
    "flushing of denormal numbers": (
        lambda: torch.set_flush_denormal(True),
        lambda: (torch.tensor(1e-310, dtype=torch.float64) * 1).item(),
    ),
    "global module hooks": (
        lambda: nn.modules.module.register_module_forward_hook(lambda net, given, made: made * 2),
        lambda: len(nn.modules.module._global_forward_hooks),
    ),
    "inference mode from False to True": (
        lambda: KEPT.append(torch.inference_mode()) or KEPT[-1].__enter__(),
        lambda: (torch.zeros(1).is_inference(), torch.is_grad_enabled()),
    ),
    "function modes": (
        lambda: torch.device("meta").__enter__(),
        torch._C._len_torch_function_stack,
    ),
    "dispatch modes": (
        lambda: TorchDispatchMode().__enter__(),
        torch._C._len_torch_dispatch_stack,
    ),
    "hooks on saved tensors": (
        lambda: torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.neg).__enter__(),
        lambda: torch._C._autograd._top_saved_tensors_default_hooks(True),
    ),
    "swapping of parameters": (
        lambda: torch.__future__.set_swap_module_params_on_conversion(True),
        torch.__future__.get_swap_module_params_on_conversion,
    ),
    "NumPy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "the working folder": (lambda: os.chdir("/"), os.getcwd),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("at", [1, 5])
def test_a_model_that_changes_a_setting_of_the_process_fails_and_touches_nobody(
    setting: str, at: int, data: DataCache, alone: tuple[object, ...]
) -> None:
    change, read = SETTINGS[setting]
    before = read()
    mine, fcn = doing(lambda net, images: net.steps == at and change())
    outcomes = train([mine, fcn], data)
    assert read() == before
    error = str(outcomes[mine.key].error)
    assert_refused(error, " changed ", next(n for n in setting.split("|") if n in error))
    assert outcomes[mine.key].iterations == at - 1
    assert arithmetic(outcomes[fcn.key]) == alone


def test_settings_are_also_undone_where_a_model_is_built_and_tested(
    data: DataCache, alone: tuple[object, ...]
) -> None:
    def builds(task: Task) -> nn.Module:
        torch.set_default_dtype(torch.float64)
        return Linear()

    for build in (
        builds,
        lambda task: Linear(lambda net, images: net.training or torch.set_num_threads(2)),
    ):
        mine, fcn = pack_of(build)
        outcomes = train([mine, fcn], data)
        assert_refused(outcomes[mine.key].error, " changed torch's ")
        assert arithmetic(outcomes[fcn.key]) == alone


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_that_ends_later_takes_no_gradients_from_other_cells(
    training: bool, data: DataCache, alone: tuple[object, ...]
) -> None:
    held: list[torch.inference_mode] = []

    def before(net: Linear, images: Tensor) -> None:
        if net.training is training and not held:
            held.append(torch.inference_mode())
            held[0].__enter__()

    mine, fcn = doing(before)
    assert_refused(train([mine], data)[mine.key].error, " changed torch's inference mode ")
    grads = torch.is_grad_enabled()
    held.clear()  # as with the model that had it
    try:
        assert arithmetic(train([fcn], data)[fcn.key]) == alone
    finally:
        torch._C._set_grad_enabled(grads)


def test_a_setting_that_is_set_back_is_no_fault(data: DataCache) -> None:
    def before(net: Linear, images: Tensor) -> None:
        with torch.no_grad(), torch.autocast("cpu"):
            net.scores(images.flatten(1))

    mine, _ = doing(before)
    assert train([mine], data)[mine.key].error is None


def test_limits_that_could_end_other_cells_are_set_back_without_a_word(data: DataCache) -> None:
    def before(net: Linear, images: Tensor) -> None:
        warnings.simplefilter("error")
        sys.setrecursionlimit(900)

    filters, depth = list(warnings.filters), sys.getrecursionlimit()
    mine, _ = doing(before)
    assert train([mine], data)[mine.key].error is None
    assert (list(warnings.filters), sys.getrecursionlimit()) == (filters, depth)


def test_a_plugins_transform_is_watched_too(data: DataCache) -> None:
    @register_transform("shear")
    class Shear(AffineGrid):
        def forward(self, theta: Tensor) -> Tensor:
            torch.set_num_threads(2)
            return super().forward(theta)

    [cell] = make_cells(models=["ST-FCN"], transforms=["shear"])
    told = "UserError: model 'ST-FCN' with transform 'shear' changed torch's number of threads"
    assert told in str(train([cell], data)[cell.key].error)
