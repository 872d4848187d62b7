"""Random state of a cell: its random numbers do not depend on other cells of the process."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


def generator(*name: str | int) -> np.random.Generator:
    """A random generator that is a function of its name alone."""
    digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def seed_of(*name: str | int) -> int:
    """A seed, 0 to 2^62 - 1, that is a function of its name alone."""
    return int(generator(*name).integers(2**62))


@dataclass(frozen=True)
class _Source:
    """A default generator of the process."""

    get: Callable[[], Any]
    put: Callable[[Any], None]
    seeded: Callable[[int], Any]  # its state after a seed
    saved: Callable[[Any], Any] = lambda state: state  # a state as tensors and plain values
    loaded: Callable[[Any], Any] = lambda saved: saved


class RandomState:
    """States of the process's default generators for one cell, or one call of user code.

    Args:
        seed: seed of all of them.
        device: the device that is computed on; a GPU has a generator of its own.
        user_code: whether Python's and NumPy's generators belong to it too; the package's own code
            never draws from them.
    """

    def __init__(self, seed: int, device: torch.device, *, user_code: bool = False) -> None:
        self.drew: set[str] = set()  # the watched generators that the last block has drawn from
        self._sources = {"cpu": _CPU}
        if device.type == "cuda":
            self._sources["gpu"] = _gpu(device)
        if user_code:
            self._sources |= {"python": _PYTHON, "numpy": _NUMPY}
        # A draw from the CPU's is only of interest where it could be a user's.
        self._watched = [name for name in self._sources if user_code or name == "gpu"]
        self._states = {name: source.seeded(seed) for name, source in self._sources.items()}

    def watch_only_the_gpu(self) -> None:
        """Makes `drew` leave out the host's generators, of which a comparison takes longer."""
        self._watched = [name for name in self._watched if name == "gpu"]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Makes all draw from this state within the block, then restores the previous state (but
        for the half of a pair of normal numbers that NumPy may have kept).

        It never waits for a kernel.
        """
        others = {name: source.get() for name, source in self._sources.items()}
        before = {name: self._saved(name) for name in self._watched}
        self._put(self._states)
        try:
            yield
        finally:
            self._states = {name: source.get() for name, source in self._sources.items()}
            self._put(others)
            self.drew = {n for n in self._watched if not _equal(before[n], self._saved(n))}

    def state_dict(self) -> dict[str, Any]:
        """States to resume from: tensors and plain values."""
        return {name: self._saved(name) for name in self._sources}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a `state_dict`; a generator without a state in it keeps its present one."""
        for name, source in self._sources.items():
            if name in state:
                self._states[name] = source.loaded(state[name])

    def _saved(self, name: str) -> Any:
        return self._sources[name].saved(self._states[name])

    def _put(self, states: dict[str, Any]) -> None:
        for name, source in self._sources.items():
            source.put(states[name])


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple):
        return all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


_CPU = _Source(
    torch.get_rng_state,
    torch.set_rng_state,
    lambda seed: torch.Generator().manual_seed(seed).get_state(),
)


def _gpu(device: torch.device) -> _Source:
    return _Source(
        lambda: torch.cuda.get_rng_state(device),
        lambda state: torch.cuda.set_rng_state(state, device),
        lambda seed: torch.Generator(device).manual_seed(seed).get_state(),
    )


_PYTHON = _Source(random.getstate, random.setstate, lambda seed: random.Random(seed).getstate())


def _numpy_state(bits: Any) -> tuple[Tensor, int]:
    state = bits.state["state"]
    return torch.from_numpy(state["key"].astype(np.int64)), int(state["pos"])


def _numpy_bits(state: tuple[Tensor, int]) -> np.random.MT19937:
    bits = np.random.MT19937()
    key, position = state
    inner: Any = {"key": key.numpy().astype(np.uint32), "pos": position}
    bits.state = {"bit_generator": "MT19937", "state": inner}
    return bits


# Its generator as a whole: NumPy takes a hundred times longer to copy its state out and in.
_NUMPY = _Source(
    np.random.get_bit_generator,  # type: ignore[attr-defined]
    np.random.set_bit_generator,  # type: ignore[attr-defined]
    np.random.MT19937,
    _numpy_state,
    _numpy_bits,
)
