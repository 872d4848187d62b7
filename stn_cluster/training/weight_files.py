"""Files of weights: safetensors, and state dicts of torch, which are read without running code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from stn_cluster.errors import StoreError, UserError

SHOWN = 3  # names of tensors in a message


def to_safetensors(state: Mapping[str, Any], about: Mapping[str, str]) -> bytes:
    """A state dict as a file of safetensors.

    Args:
        state: the state dict.
        about: texts that travel with it.

    Raises:
        UserError: a value is no tensor.
    """
    from safetensors.torch import save

    if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise UserError(f"safetensors hold tensors only; there is also {_listed(others)}")
    # Copies, as two of them may share memory.
    return save(
        {name: value.detach().clone().contiguous() for name, value in state.items()}, dict(about)
    )


def from_safetensors(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a file of safetensors.

    Raises:
        StoreError: it is damaged; `where` names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise StoreError(f"{where} are damaged: {error}") from error


def misfit(model: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What keeps a state dict from fitting a model's; '' if it fits.

    Args:
        model: the model's own state dict.
        given: the other.
    """
    missing = [name for name in model if name not in given]
    left_over = [name for name in given if name not in model]
    shapes = [
        f"{name} is {_shape(given[name])} and not {_shape(value)}"
        for name, value in model.items()
        if name in given and _shape(given[name]) != _shape(value)
    ]
    parts = [
        f"missing: {_listed(missing)}" if missing else "",
        f"left over: {_listed(left_over)}" if left_over else "",
        f"of another shape: {_listed(shapes)}" if shapes else "",
    ]
    return "; ".join(filter(None, parts))


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
