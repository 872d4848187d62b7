"""Random state of a cell: its own numbers, whatever else the process trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RandomState:
    """The states of torch's generators, on the CPU and on a GPU, as one cell has them.

    Args:
        seed: of both.
        device: the one that the cell is trained on.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.draws_on_device = False  # something was drawn from a GPU's generator
        self._cpu = torch.Generator().manual_seed(seed).get_state()
        self._gpu = device if device.type == "cuda" else None
        self._on_gpu: Tensor | None = None
        if self._gpu is not None:
            self._on_gpu = torch.Generator(self._gpu).manual_seed(seed).get_state()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, torch draws from this state; what others had is put back behind it."""
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
        """The states, to resume from."""
        return (
            {"cpu": self._cpu} if self._on_gpu is None else {"cpu": self._cpu, "gpu": self._on_gpu}
        )

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts a `state_dict` back; one of another kind of device lacks the GPU's."""
        self._cpu = state["cpu"]
        if self._on_gpu is not None and "gpu" in state:
            self._on_gpu = state["gpu"]

    def _swap_gpu(self, state: Tensor | None) -> Tensor | None:
        """Gives the GPU's generator this state; the one that it had. It waits for no kernel."""
        if self._gpu is None or state is None:
            return None
        before = torch.cuda.get_rng_state(self._gpu)
        torch.cuda.set_rng_state(state, self._gpu)
        return before
