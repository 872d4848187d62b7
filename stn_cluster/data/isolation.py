"""Isolation of user code: it draws from random numbers of its own, and leaves the process's
settings as they were, with which pack mates and all later cells of a worker compute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_modules
from torch.utils import _device as torch_devices

from stn_cluster.data.random_state import RandomState
from stn_cluster.errors import UserError

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
class _Setting:
    """A setting of the whole process."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _attribute(name: str, owner: Any, attribute: str) -> _Setting:
    return _Setting(
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


_SETTINGS = (
    _Setting("torch's grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
    _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Setting(
        "torch's default device",
        lambda: torch_devices.CURRENT_DEVICE,  # None if none was set
        torch.set_default_device,
    ),
    _Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    _Setting(
        "torch's deterministic algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    _Setting(
        "torch's anomaly detection",
        torch.is_anomaly_enabled,
        lambda enabled: torch.autograd.set_detect_anomaly(enabled),
    ),
    _Setting(
        "torch's autocast on the CPU",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda enabled: torch.set_autocast_enabled("cpu", enabled),
    ),
    _Setting(
        "torch's autocast on the GPU",
        lambda: torch.is_autocast_enabled("cuda"),
        lambda enabled: torch.set_autocast_enabled("cuda", enabled),
    ),
    _attribute("torch.backends.cudnn.enabled", torch.backends.cudnn, "enabled"),
    _attribute("torch.backends.cudnn.benchmark", torch.backends.cudnn, "benchmark"),
    _attribute("torch.backends.cudnn.deterministic", torch.backends.cudnn, "deterministic"),
    _attribute("torch.backends.mkldnn.enabled", torch.backends.mkldnn, "enabled"),
    # Before those that it sets.
    _Setting("torch's matmul precision", _matmul_precision, _put_matmul_precision),
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
    _Setting(
        "torch's flushing of denormal numbers",
        lambda: _TINY * 0.5 == 0,
        torch.set_flush_denormal,
    ),
    _Setting(
        "torch's global module hooks",
        lambda: tuple(tuple(hooks.items()) for hooks in _HOOKS),
        _put_hooks,
    ),
    _Setting("NumPy's errors", np.geterr, lambda errors: np.seterr(**errors)),
    _Setting("the working folder", os.getcwd, os.chdir),
)

# Errors that end the worker, or are about to: nothing else is worth saying then.
_GRAVE = (MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)


@contextmanager
def isolated(component: str, state: RandomState) -> Iterator[None]:
    """Runs user code with random numbers of its own, and undoes what it changes in the process.

    Args:
        component: whose code it is, as in "model 'LeNet'".
        state: what it draws from; its `drew` then tells whether it has.

    Raises:
        UserError: it has changed a setting of the process, which is as before now.
    """
    before = [setting.get() for setting in _SETTINGS]
    error: BaseException | None = None
    with state.in_place():
        try:
            yield
        except BaseException as raised:
            error = raised
    changed = _restore(before)
    if changed and not isinstance(error, _GRAVE):
        raise UserError(
            f"{component} changed {', '.join(changed)}: other cells compute with it; "
            "set it only within a `with` block that sets it back"
        ) from None
    if error is not None:
        raise error


def _restore(before: list[Any]) -> list[str]:
    """Restores settings; returns those that were changed, as in 'torch's grad mode from True to
    False'."""
    changed = []
    for setting, value in zip(_SETTINGS, before, strict=True):
        now = setting.get()
        if now == value:
            continue
        setting.put(value)
        plain = isinstance(value, bool | int | str | torch.dtype | torch.device)
        changed.append(f"{setting.name} from {value} to {now}" if plain else setting.name)
    return changed
