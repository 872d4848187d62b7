"""Settings of the whole process that arithmetic depends on, and how each is set back.

User code that leaves one changed would change the numbers of all that is computed after it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_modules
from torch.utils import _device as torch_devices
from torch.utils import _python_dispatch as torch_dispatch

_TINY = sys.float_info.min / 2  # 0 in arithmetic that flushes denormals
_BACKENDS: Any = torch.backends  # whose attributes are not declared
_HOOKS = (
    torch_modules._global_forward_hooks,
    torch_modules._global_forward_pre_hooks,
    torch_modules._global_backward_hooks,
    torch_modules._global_backward_pre_hooks,
    torch_modules._global_module_registration_hooks,
    torch_modules._global_buffer_registration_hooks,
    torch_modules._global_parameter_registration_hooks,
)


@dataclass(frozen=True)
class ProcessSetting:
    """A setting of the whole process, or of this thread."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _attribute(name: str, owner: Any, attribute: str) -> ProcessSetting:
    return ProcessSetting(
        name,
        lambda: getattr(owner, attribute),
        lambda value: setattr(owner, attribute, value),
    )


def _put_hooks(hooks: tuple[tuple[tuple[int, Any], ...], ...]) -> None:
    for registered, before in zip(_HOOKS, hooks, strict=True):
        registered.clear()
        registered.update(before)


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set in the newer way, by `fp32_precision` below
        return None


def _put_matmul_precision(precision: str | None) -> None:
    if precision is not None:
        torch.set_float32_matmul_precision(precision)


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it has been removed
        return None


def _change_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


_left: list[Any] = []  # guards that hold, as long as they exist, what they have set


def _put_inference_mode(enabled: bool) -> None:
    guard = torch.inference_mode(enabled)
    guard.__enter__()
    _left.append(guard)


def _function_modes() -> tuple[Any, ...]:
    count = torch._C._len_torch_function_stack()
    return tuple(torch._C._get_function_stack_at(place) for place in range(count))


def _put_function_modes(modes: tuple[Any, ...]) -> None:
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)


def _dispatch_modes() -> tuple[Any, ...]:
    return tuple(torch_dispatch._get_current_dispatch_mode_stack())


def _put_dispatch_modes(modes: tuple[Any, ...]) -> None:
    while torch_dispatch._get_current_dispatch_mode_stack():
        torch_dispatch._pop_mode()
    for mode in modes:
        torch_dispatch._push_mode(mode)


def _saved_tensor_hooks() -> Any:
    return torch._C._autograd._top_saved_tensors_default_hooks(True)  # None if there are none


def _pop_saved_tensor_hooks(hooks: Any) -> None:
    while _saved_tensor_hooks() not in (None, hooks):
        torch._C._autograd._pop_saved_tensors_default_hooks()


TORCH_SETTINGS = (
    # First: it sets the grad mode too.
    ProcessSetting("torch's inference mode", torch.is_inference_mode_enabled, _put_inference_mode),
    ProcessSetting("torch's grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
    ProcessSetting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ProcessSetting(
        "torch's default device",
        lambda: torch_devices.CURRENT_DEVICE,  # None if none was set
        torch.set_default_device,
    ),
    ProcessSetting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ProcessSetting(
        "torch's deterministic algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    ProcessSetting(
        "torch's anomaly detection",
        torch.is_anomaly_enabled,
        lambda enabled: torch.autograd.set_detect_anomaly(enabled),
    ),
    ProcessSetting(
        "torch's autocast on the CPU",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda enabled: torch.set_autocast_enabled("cpu", enabled),
    ),
    ProcessSetting(
        "torch's autocast on the GPU",
        lambda: torch.is_autocast_enabled("cuda"),
        lambda enabled: torch.set_autocast_enabled("cuda", enabled),
    ),
    _attribute("torch.backends.cudnn.enabled", torch.backends.cudnn, "enabled"),
    _attribute("torch.backends.cudnn.benchmark", torch.backends.cudnn, "benchmark"),
    _attribute("torch.backends.cudnn.deterministic", torch.backends.cudnn, "deterministic"),
    _attribute("torch.backends.mkldnn.enabled", torch.backends.mkldnn, "enabled"),
    # Before those that it sets.
    ProcessSetting("torch's matmul precision", _matmul_precision, _put_matmul_precision),
    *(
        _attribute(f"torch's precision of {name}", owner, "fp32_precision")
        for name, owner in {
            "float32": torch.backends,
            "matrix products on the CPU": _BACKENDS.mkldnn.matmul,
            "convolutions on the CPU": _BACKENDS.mkldnn.conv,
            "matrix products on the GPU": _BACKENDS.cuda.matmul,
            "convolutions on the GPU": _BACKENDS.cudnn.conv,
        }.items()
    ),
    ProcessSetting(
        "torch's flushing of denormal numbers",
        lambda: _TINY * 0.5 == 0,
        torch.set_flush_denormal,
    ),
    ProcessSetting(
        "torch's global module hooks",
        lambda: tuple(tuple(hooks.items()) for hooks in _HOOKS),
        _put_hooks,
    ),
    # Modes that were entered and not left, of which each would see all later operations.
    ProcessSetting("torch's function modes", _function_modes, _put_function_modes),
    ProcessSetting("torch's dispatch modes", _dispatch_modes, _put_dispatch_modes),
    ProcessSetting("torch's hooks on saved tensors", _saved_tensor_hooks, _pop_saved_tensor_hooks),
    ProcessSetting(
        "torch's swapping of parameters",
        torch.__future__.get_swap_module_params_on_conversion,
        torch.__future__.set_swap_module_params_on_conversion,
    ),
)

SETTINGS = (
    *TORCH_SETTINGS,
    ProcessSetting("NumPy's errors", np.geterr, lambda errors: np.seterr(**errors)),
    ProcessSetting("the working folder", _folder, _change_folder),
)
