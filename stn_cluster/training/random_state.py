"""Random state of a cell: its random numbers do not depend on other cells of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """States of torch's default generators, on the CPU and on a GPU, for one cell.

    Args:
        seed: seed of both.
        device: the device that the cell is trained on.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.draws_on_device = False  # whether the cell has drawn from a GPU's generator
        self._cpu = torch.Generator().manual_seed(seed).get_state()
        self._gpu = device if device.type == "cuda" else None
        self._on_gpu: Tensor | None = None
        if self._gpu is not None:
            self._on_gpu = torch.Generator(self._gpu).manual_seed(seed).get_state()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Makes torch draw from this state within the block, then restores the previous state."""
        others = torch.get_rng_state()
        others_on_gpu = self._swap_gpu(self._on_gpu)
        torch.set_rng_state(self._cpu)
        try:
            yield
        finally:
            self._cpu = torch.get_rng_state()
            torch.set_rng_state(others)
            drawn = self._swap_gpu(others_on_gpu)
            if drawn is not None and self._on_gpu is not None:
                self.draws_on_device |= not torch.equal(drawn, self._on_gpu)
                self._on_gpu = drawn

    def state_dict(self) -> dict[str, Tensor]:
        """States to resume from."""
        return (
            {"cpu": self._cpu} if self._on_gpu is None else {"cpu": self._cpu, "gpu": self._on_gpu}
        )

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores a `state_dict`; one that was saved on a CPU has no GPU state."""
        self._cpu = state["cpu"]
        if self._on_gpu is not None and "gpu" in state:
            self._on_gpu = state["gpu"]

    def _swap_gpu(self, state: Tensor | None) -> Tensor | None:
        """Sets the state of the GPU's generator and returns its previous one; never waits for a
        kernel."""
        if self._gpu is None or state is None:
            return None
        before = torch.cuda.get_rng_state(self._gpu)
        torch.cuda.set_rng_state(state, self._gpu)
        return before
