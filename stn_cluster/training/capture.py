"""A training step of a whole pack as one CUDA graph: the host only replays it.

A round is the stream's batch (read and distorted once), then one step of each cell that shares it,
each on its own CUDA stream, so that small cells together use the whole device. Only a row number on
the device changes from step to step; draws and learning rates are copied there for a block of steps
at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch

from stn_cluster.data.cache import BatchLoader
from stn_cluster.data.stream import BLOCK
from stn_cluster.training.cell_training import CellTraining

# Arguments: a function that works on fixed addresses and reads nothing back to the host, and the
# generators that it draws from. Result: a function that repeats it.
Capture = Callable[[Callable[[], None], Sequence[torch.Generator]], Callable[[], None]]


def cuda_graph(work: Callable[[], None], draws: Sequence[torch.Generator]) -> Callable[[], None]:
    """Captures `work` as a CUDA graph, without running it; it must have run eagerly before.

    Each replay continues the random sequences of the generators in `draws`.

    Raises:
        RuntimeError: an operation cannot be captured.
    """
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    for generator in draws:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class CapturedRounds:
    """Rounds of cells that share a stream and are at the same step.

    Args:
        loader: the stream's batches.
        runs: the cells.
        capture: captures a round.

    Raises:
        RuntimeError: a cell's step cannot be captured.
    """

    def __init__(self, loader: BatchLoader, runs: Sequence[CellTraining], capture: Capture) -> None:
        self.runs = tuple(runs)
        self._loader = loader
        device = runs[0].device
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        steps = len(runs[0].recipe.at(0)), len(runs), BLOCK
        self._schedule = torch.zeros(steps, device=device)  # see `Recipe.at`
        self._branches = _branches(len(runs), device)
        self._block: int | None = None  # the block whose draws and schedules are on the device
        noises = [run.noise for run in runs if run.noise is not None]
        self._again = capture(self._round, noises)

    def load(self) -> None:
        """Copies the draws and schedules of the cells' present block to the device.

        Raises:
            Exception: a plug-in's distortion fails to draw.
        """
        step = self.runs[0].step
        block, row = divmod(step, BLOCK)
        if block != self._block:
            self._loader.load(step)
            schedules = [
                [
                    run.recipe.at(min(block * BLOCK + i, run.recipe.iterations - 1))
                    for i in range(BLOCK)
                ]
                for run in self.runs
            ]
            self._schedule.copy_(torch.tensor(schedules).permute(2, 0, 1))
            self._row.fill_(row)
            self._block = block

    def advance(self, steps: int) -> int:
        """Trains up to `steps` steps of the loaded block.

        Returns:
            Number of steps; the device may still be busy with them.
        """
        steps = min(steps, BLOCK - self.runs[0].step % BLOCK)
        for _ in range(steps):
            self._again()
        return steps

    def _round(self) -> None:
        images, labels = self._loader.at(self._row)
        now = self._schedule.index_select(2, self._row).squeeze(2).unbind(1)
        for run, amounts, branch in zip(self.runs, now, self._branches, strict=True):
            with _on(branch):
                run.compute(images, labels, *amounts)
        for branch in self._branches:
            if branch is not None:
                torch.cuda.current_stream().wait_stream(branch)
        self._row += 1


def _branches(count: int, device: torch.device) -> list[torch.cuda.Stream | None]:
    if device.type != "cuda":
        return [None] * count
    return [torch.cuda.Stream(device) for _ in range(count)]  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _on(branch: torch.cuda.Stream | None) -> Iterator[None]:
    """Runs the block on a branch that starts after the current stream's work."""
    if branch is None:
        yield
        return
    branch.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(branch):
        yield
