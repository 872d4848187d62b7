"""Captured rounds without CUDA: detects operations that CUDA graphs forbid, and repeats rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stn_cluster.data.cache import DataCache
from stn_cluster.grid import Cell
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.trainer import PackTrainer

# Operations forbidden during a capture: reading back, or copying values from the host.
HOST = {"_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "equal"}


class NoHost(TorchDispatchMode):
    """Refuses operations that a capture would refuse on a GPU."""

    def __init__(self, draws: Sequence[torch.Generator] = ()) -> None:
        super().__init__()
        self.known = {generator._cdata for generator in draws}  # type: ignore[attr-defined]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if (
            by_mask or name in HOST
        ):  # only the device knows the number of values that a mask selects
            raise RuntimeError(f"{func} cannot be captured")
        generator = (kwargs or {}).get("generator")
        if generator is not None and generator._cdata not in self.known:
            raise RuntimeError(f"{func} cannot be captured: its generator is not registered")
        return func(*args, **(kwargs or {}))


class Rounds:
    """Replacement for a CUDA graph on a CPU: runs the work at each replay."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def __call__(
        self, work: Callable[[], None], draws: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        self.captures += 1

        def again() -> None:
            self.replays += 1
            with NoHost(draws):
                work()

        return again


def train_captured(
    cells: list[Cell], data: DataCache, states: dict[str, bytes] | None = None
) -> tuple[dict[str, Outcome], Rounds]:
    rounds = Rounds()
    trainer = PackTrainer(cells, data, states, capture=rounds)
    ended = {o.key: o for progress in trainer.run() for o in progress.ended}
    return ended, rounds
