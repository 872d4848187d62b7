"""Isolation of user code: it draws from random numbers of its own, and leaves the process's
settings as they were, with which pack mates and all later cells of a worker compute."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from stn_cluster.data.random_state import RandomState
from stn_cluster.errors import UserError
from stn_cluster.process_settings import SETTINGS

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
    before = [setting.get() for setting in SETTINGS]
    filters, depth = list(warnings.filters), sys.getrecursionlimit()
    error: BaseException | None = None
    with state.in_place():
        try:
            yield
        except BaseException as raised:
            error = raised
        changed = _restore(before)  # first: modes that were left on would see what follows
        _restore_limits(filters, depth)
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
    for setting, value in zip(SETTINGS, before, strict=True):
        now = setting.get()
        if now == value:
            continue
        setting.put(value)
        plain = isinstance(value, bool | int | str | torch.dtype | torch.device)
        changed.append(f"{setting.name} from {value} to {now}" if plain else setting.name)
    return changed


def _restore_limits(filters: list[Any], depth: int) -> None:
    """Restores what changes no number, but could end other cells with an error."""
    if list(warnings.filters) != filters:
        warnings.filters[:] = filters  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
    sys.setrecursionlimit(depth)
