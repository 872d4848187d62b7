"""Python attributes of a model that change in training: state that is not in its state_dict."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stn_cluster.errors import UserError
from stn_cluster.training.checkpoints import from_bytes, to_bytes

Place = tuple[str, str]  # of an attribute: name of its module, its own name
_TORCHS = frozenset(vars(nn.Module()))  # what torch, or the training, keeps track of itself
_TRUSTED = ("torch", "stn_cluster")  # packages whose modules have their state in the state_dict


class Attributes:
    """Attributes of those modules of a model whose classes are a plug-in's.

    Buffers that are not in the state_dict count as attributes.

    Args:
        model: the model as it was built.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first = self.digests()

    def digests(self) -> dict[Place, bytes]:
        """Hashes of all present values that can be pickled: equal if nothing has changed.

        Modules and parameters among them count as unchanged: torch keeps them.
        """
        pickled = ((place, _pickled(value)) for place, value in self._present())
        return {place: digest for place, digest in pickled if digest is not None}

    def state_dict(self) -> list[tuple[str, str, Any]]:
        """Module, name and value of each attribute that has changed since the model was built.

        Raises:
            UserError: a checkpoint cannot hold a value.
        """
        digests = self.digests()
        changed = [
            (*place, value)
            for place, value in self._present()
            if digests.get(place) != self._first.get(place)
        ]
        for module, name, value in changed:
            where = f"{module}.{name}".lstrip(".")
            refuse_unreadable(f"attribute {where!r} ({type(value).__name__})", value)
        return changed

    def load_state_dict(self, state: list[tuple[str, str, Any]]) -> None:
        """Restores a `state_dict`."""
        modules = dict(self._model.named_modules())
        for where, name, value in state:
            module = modules[where]
            values: Any = module._buffers if name in module._buffers else vars(module)
            present = values.get(name)
            if isinstance(value, Tensor) and isinstance(present, Tensor):
                value = value.to(present.device)
            values[name] = value

    def _present(self) -> Iterator[tuple[Place, Any]]:
        for where, module in self._model.named_modules():
            if type(module).__module__.partition(".")[0] in _TRUSTED:
                continue
            for name, value in vars(module).items():
                if name not in _TORCHS:
                    yield (where, name), value
            for name in sorted(module._non_persistent_buffers_set):
                yield (where, name), module._buffers[name]


def refuse_unreadable(what: str, value: Any) -> None:
    """Raises UserError if a checkpoint with the value could not be written, or not be read back."""
    try:
        from_bytes(to_bytes({"value": value}))
    except MemoryError:
        raise
    except Exception as error:  # pickle and torch raise many types
        raise UserError(
            f"{what} cannot be kept in a checkpoint, which holds numbers, strings, tensors, and "
            "lists, tuples, sets and dicts of these"
        ) from error


def refuse_unreadable_state(state: Mapping[str, Any]) -> None:
    """Checks the values of a model's state_dict that are not tensors: those of `get_extra_state`.

    Raises:
        UserError: a checkpoint cannot hold one.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            refuse_unreadable(f"state {name!r} ({type(value).__name__})", value)


class _Pickler(pickle.Pickler):
    """Pickler that does not look into what torch keeps itself."""

    def persistent_id(self, value: Any) -> str | None:
        if isinstance(value, nn.Module | nn.Parameter | torch.Generator):
            return type(value).__name__
        return None


def _pickled(value: Any) -> bytes | None:
    """Hash of a value's pickle; None if it has none."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(value)
    except MemoryError:
        raise
    except Exception:  # a lambda, a lock, an open file
        return None
    return hashlib.sha256(buffer.getbuffer()).digest()
