"""Files of weights: safetensors, and state dicts of torch, which are read without running code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stn_cluster.errors import UserError
from stn_cluster.stn.torchvision_models import AUXILIARY

SHOWN = 3  # names of tensors in a message
_TORCHS = (b"PK\x03\x04", b"\x80\x02")  # first bytes of what torch.save writes, now and formerly


@dataclass(frozen=True)
class WeightFile:
    """A state dict from a file."""

    file: str  # its name in messages
    state: dict[str, Any]
    remark: str | None = None  # in which part of the file it was


def read_weights(path: Path) -> WeightFile:
    """Reads a state dict: a file of safetensors, or one of `torch.save`.

    One that is a part of a checkpoint is found if there are no others in it.

    Raises:
        UserError: it is damaged, or something else, or holds several state dicts.
    """
    try:
        with path.open("rb") as opened:
            if not opened.read(4).startswith(_TORCHS):
                opened.seek(0)
                return WeightFile(path.name, from_safetensors(opened.read()))
            opened.seek(0)  # the open file, as the name may say something else
            loaded = torch.load(opened, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # torch raises many types
        raise UserError(
            f"{path}: is not a state dict that can be read without running its code "
            f"({type(error).__name__}): write one by torch.save(model.state_dict(), FILE), or as "
            "safetensors"
        ) from error
    return _state_in(path, loaded)


def load_into(model: nn.Module, weights: WeightFile, name: str) -> list[str]:
    """Loads weights into a model.

    Args:
        model: the model.
        weights: from `read_weights`.
        name: the model's, in errors.

    Returns:
        What is worth saying: which part of the file it was, what was left out.

    Raises:
        UserError: they do not fit; the message says which tensors are missing, left over, or of
            another shape.
    """
    own = model.state_dict()
    state, remarks = weights.state, [weights.remark] if weights.remark else []
    while (prefix := _common_prefix(state)) and not any(key.startswith(prefix) for key in own):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        remarks.append(f"the names in it begin with {prefix!r}, which is left out")
    unused = [key for key in state if key not in own and key.startswith(AUXILIARY)]
    if unused:
        state = {key: value for key, value in state.items() if key not in unused}
        remarks.append("auxiliary heads, which only training uses, are left out")
    if wrong := misfit(own, state):
        raise UserError(f"weights {weights.file} do not fit {name}: {wrong}")
    model.load_state_dict(state)
    return [f"{weights.file}: {remark}" for remark in remarks]


def misfit(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Reason why a state dict does not fit a model's own; '' if it fits."""
    missing = [name for name in own if name not in given]
    left_over = sorted(name for name in given if name not in own)
    shapes = [
        f"{name} ({_shape(given[name])}, not {_shape(value)})"
        for name, value in own.items()
        if name in given and _shape(given[name]) != _shape(value)
    ]
    parts = {"missing": missing, "left over": left_over, "of another shape": shapes}
    return "; ".join(f"{what}: {_listed(names)}" for what, names in parts.items() if names)


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
    copies = {name: value.detach().clone().contiguous() for name, value in state.items()}
    return save(copies, dict(about))


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a file of safetensors.

    Raises:
        ValueError: it is damaged, or something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(f"not a readable file of safetensors: {error}") from error


def _state_in(path: Path, loaded: object) -> WeightFile:
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: holds {type(loaded).__name__}, not a state dict")
    if _is_state(loaded):
        return WeightFile(path.name, dict(loaded))
    parts = [name for name, value in loaded.items() if _is_state(value)]
    if len(parts) == 1:
        return WeightFile(path.name, dict(loaded[parts[0]]), f"its part {parts[0]!r} is taken")
    there = ", ".join(map(str, parts)) or "none"
    raise UserError(
        f"{path}: expected a state dict, or one in a checkpoint; there are several: {there}"
        if parts
        else f"{path}: holds no state dict, only {_listed(map(str, loaded))}"
    )


def _is_state(value: object) -> bool:
    """Whether it is a state dict; a model's extra state need not be a tensor."""
    if not isinstance(value, Mapping) or not value:
        return False
    tensors = sum(isinstance(one, Tensor) for one in value.values())
    extra = sum(str(name).endswith("_extra_state") for name in value)
    return all(isinstance(name, str) for name in value) and 0 < len(value) <= tensors + extra


def _common_prefix(state: Mapping[str, Any]) -> str:
    """First part of all names, as in 'module.'; '' if they differ."""
    heads = {name.partition(".")[:2] for name in state}
    return "".join(heads.pop()) if len(heads) == 1 and all("." in name for name in state) else ""


def _shape(value: Any) -> str:
    return "x".join(map(str, value.shape)) or "1" if isinstance(value, Tensor) else "no tensor"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
