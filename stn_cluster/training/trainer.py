"""Trains a pack of cells side by side; cells with the same stream share its distorted batches.

Cells do not affect each other's arithmetic: a cell's result is the same alone and in any pack.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec

import torch

from stn_cluster.data.cache import BatchLoader, DataCache
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.training.activity import Activity
from stn_cluster.training.capture import Capture, CapturedRounds, cuda_graph
from stn_cluster.training.cell_evaluation import CellEvaluation
from stn_cluster.training.cell_training import CellTraining
from stn_cluster.training.outcome import Outcome

log = logging.getLogger(__name__)
P = ParamSpec("P")
Stream = tuple[str | int, ...]  # name of a stream

YIELD_SECONDS = 0.1  # training time between two yields to the caller
EAGER_ROUNDS = 3  # rounds before a capture: libraries initialise in their first calls

# Errors that end the worker, not only a cell: memory is exhausted, or the device is unusable.
FATAL = (MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
# cuBLAS, cuDNN and the CPU's allocator raise plain RuntimeErrors.
_FATAL_TEXTS = ("CUDA error", "cuDNN error", "DefaultCPUAllocator: can't allocate memory")


def ends_worker(error: BaseException) -> bool:
    """Whether an error means that the process or its device cannot be used any more."""
    # `format_exception_only` also shows an exception whose own __str__ fails.
    told = "".join(traceback.format_exception_only(error))
    return isinstance(error, FATAL) or any(text in told for text in _FATAL_TEXTS)


def failure_text(error: BaseException) -> str:
    """Text of a cell's failure: one line if that says it all, otherwise the traceback."""
    if isinstance(error, UserError) and error.__cause__ is None:
        return f"UserError: {error}"
    return "".join(traceback.format_exception(error))


@dataclass(frozen=True)
class Progress:
    """Progress of a pack: outcomes since the previous one, and steps done by key."""

    ended: tuple[Outcome, ...]
    steps: Mapping[str, int]


class PackTrainer:
    """Training loop of a pack.

    Args:
        cells: the cells to train, at least one.
        data: data sets and test sets, on the device to train on.
        states: checkpoints to resume from, by key; a damaged one is logged and not used.
        capture: captures whole rounds; default: CUDA graphs, if the device is a GPU.
        activity: told whose code runs, and of all progress.
        turn: called with a cell's key before code of that cell runs, and with None after it.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        data: DataCache,
        states: Mapping[str, bytes] | None = None,
        capture: Capture | None = None,
        activity: Activity | None = None,
        turn: Callable[[str | None], None] = lambda key: None,
    ) -> None:
        self.data = data
        self._activity = activity or Activity()
        self._turn = turn
        self._capture = cuda_graph if capture is None and data.device.type == "cuda" else capture
        self._captured: dict[Stream, CapturedRounds] = {}
        self._eager_rounds: Counter[Stream] = Counter()  # with the present set of cells
        self._ended: list[Outcome] = []
        self._loaders: dict[Stream, BatchLoader] = {}
        self._running: dict[str, CellTraining] = {}
        self._untrained: dict[str, CellEvaluation] = {}  # cells that are only evaluated
        self._without_checkpoint: set[str] = set()  # keys of cells that were said to have none
        for cell in cells:
            self._guard(cell, self._start, cell)
            state = (states or {}).get(cell.key)
            if state is not None and cell.key in self._running:
                self._activity.begin("resumes from its checkpoint", cell.key)
                try:
                    self._running[cell.key].resume(state)
                except Exception as error:  # damaged, or from another version; maybe half loaded
                    if ends_worker(error):
                        raise
                    log.warning("%s starts from the beginning: %s", cell.label, error)
                    self._guard(cell, self._start, cell)

    def run(self) -> Iterator[Progress]:
        """Trains until every cell has ended; yields regularly, so that the caller can act.

        To stop training, stop iterating; `checkpoints` then has the state of the rest.
        """
        for run in [run for run in self._running.values() if run.done]:  # resumed at the last step
            self._guard(run.cell, self._finish, run)
        yielded = time.perf_counter()
        try:
            for cell in [evaluation.cell for evaluation in self._untrained.values()]:
                if cell.key in self._untrained:  # not dropped meanwhile
                    self._guard(cell, self._finish, self._untrained[cell.key])
                    yield self._progress()
            while self._running:
                for stream in dict.fromkeys(run.cell.stream for run in self._running.values()):
                    self._advance(stream)
                if self._ended or time.perf_counter() - yielded >= YIELD_SECONDS:
                    yield self._progress()
                    yielded = time.perf_counter()
            if self._ended:
                yield self._progress()
        finally:
            self._release()

    def drop(self, key: str) -> None:
        """Ends a cell without an outcome, between two steps."""
        self._running.pop(key, None)
        self._untrained.pop(key, None)

    def steps(self) -> dict[str, int]:
        """Steps done by each cell that is still in training, by key."""
        trained = {key: run.step for key, run in self._running.items()}
        return trained | dict.fromkeys(self._untrained, 0)

    def checkpoints(self) -> dict[str, bytes]:
        """A checkpoint of each cell that is still in training, by key.

        A cell whose state cannot be kept has none, and the log says so once.
        """
        states = {}
        for key, run in self._running.items():
            self._activity.begin("makes a checkpoint", key)
            try:
                states[key] = run.checkpoint()
            except Exception as error:  # code of the user's model may raise anything
                if ends_worker(error):
                    raise
                if key not in self._without_checkpoint:
                    log.warning(
                        "%s has no checkpoint of step %d, and begins anew if it is interrupted: %s",
                        *(run.cell.label, run.step, error),
                    )
                self._without_checkpoint.add(key)
        return states

    def _progress(self) -> Progress:
        ended, self._ended = tuple(self._ended), []
        return Progress(ended, self.steps())

    def _start(self, cell: Cell) -> None:
        if cell.is_trained and cell.stream not in self._loaders:
            self._activity.begin(f"loads the data set {cell.dataset}", cell.key)
            self._loaders[cell.stream] = self.data.loader(cell)
        self._activity.begin("makes its test set", cell.key)
        test = self.data.test(cell, self._activity.progressed)
        self._activity.begin("builds its model", cell.key)
        device, progressed = self.data.device, self._activity.progressed
        if not cell.is_trained:
            self._untrained[cell.key] = CellEvaluation(
                cell, test, device, self.data.root, progressed
            )
            return
        run = CellTraining(cell, test, device, progressed)
        run.check_restorable()
        self._running[cell.key] = run

    def _advance(self, stream: Stream) -> None:
        """Trains the cells of a stream that have done the fewest steps: one step, or several
        captured ones."""
        runs = [run for run in self._running.values() if run.cell.stream == stream]
        # All are at the same step, unless some resumed from a checkpoint: then those behind catch
        # up first, so that the cells share batches again.
        step = min(run.step for run in runs)
        behind = [run for run in runs if run.step == step]
        started = time.perf_counter()
        if rounds := self._rounds(stream, behind):
            self._activity.begin(f"takes step {step + 1}", *(run.cell.key for run in behind))
            ahead = [run.step - step for run in runs if run.step > step]
            try:
                rounds.load()
            except (Exception, SystemExit) as error:
                self._fail(runs, error)
                return
            steps = rounds.advance(min([*ahead, *(run.quiet_steps for run in behind)]))
            for run in behind:  # the device may be busy with any of them
                self._guard(run.cell, run.stepped, steps)
        else:
            self._activity.begin("distorts its images", *(run.cell.key for run in runs))
            try:
                images, labels = self._loaders[stream].batch(step)
            except (Exception, SystemExit) as error:
                self._fail(runs, error)
                return
            share = (time.perf_counter() - started) / len(behind)
            for run in behind:
                self._guard(run.cell, self._train, run, images, labels, share)
            self._eager_rounds[stream] += 1
        if self.data.device.type != "cpu":
            # The device works asynchronously, and the first cell that reads its loss waits for all
            # others: only the time of the whole round is meaningful.
            seconds, costs = time.perf_counter() - started, sum(run.cell.cost for run in behind)
            for run in behind:
                run.seconds += seconds * run.cell.cost / costs
        for run in behind:
            if run.done and run.cell.key in self._running:
                self._guard(run.cell, self._finish, run)

    def _rounds(self, stream: Stream, runs: list[CellTraining]) -> CapturedRounds | None:
        """Captured rounds of exactly these cells; None if they are to be trained eagerly."""
        rounds = self._captured.get(stream)
        if rounds is not None and rounds.runs == tuple(runs):
            return rounds
        if rounds is not None:  # a cell has ended, or caught up
            del self._captured[stream]
            self._eager_rounds[stream] = 0
        if self._capture is None or self._eager_rounds[stream] < EAGER_ROUNDS:
            return None
        if self._loaders[stream].draws or not all(run.replayable for run in runs):
            return None
        self._activity.begin("has its step captured", *(run.cell.key for run in runs))
        try:
            rounds = self._captured[stream] = CapturedRounds(
                self._loaders[stream], runs, self._capture
            )
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a failed capture is a CUDA error, but a harmless one
            names = ", ".join(run.cell.label for run in runs)
            log.warning("trained eagerly, as their step cannot be captured: %s: %s", names, error)
            self._capture = None
            return None
        return rounds

    def _release(self) -> None:
        """Frees the device memory of captured rounds: the next pack captures its own."""
        if self._captured:
            self._captured.clear()
            if self.data.device.type == "cuda":
                torch.cuda.empty_cache()

    def _train(
        self, run: CellTraining, images: torch.Tensor, labels: torch.Tensor, share: float
    ) -> None:
        """Trains one cell for one step; `share` is its part of the seconds that the batch took."""
        self._activity.begin(f"takes step {run.step + 1}", run.cell.key)
        started = time.perf_counter()
        run.train(images, labels)
        if self.data.device.type == "cpu":
            run.seconds += share + time.perf_counter() - started

    def _fail(self, runs: Sequence[CellTraining], error: BaseException) -> None:
        """Ends cells whose batches cannot be made."""
        if ends_worker(error):
            raise error
        for run in runs:
            self._end(run.failure(failure_text(error)))

    def _finish(self, run: CellTraining | CellEvaluation) -> None:
        self._activity.begin("is tested", run.cell.key)
        self._end(run.outcome())

    def _end(self, outcome: Outcome) -> None:
        self.drop(outcome.key)
        self._ended.append(outcome)

    def _guard(
        self, cell: Cell, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Runs an action for a cell; if it fails, only that cell ends."""
        self._turn(cell.key)
        try:
            # Torch's modes hold as long as their objects: one that another cell's code has left
            # may end at any time, and would then set gradients as they were when it began.
            with torch.inference_mode(False), torch.enable_grad():
                action(*args, **kwargs)
        except (Exception, SystemExit) as error:  # sys.exit() ends its cell, not the worker
            if ends_worker(error):
                raise
            failure = failure_text(error)
            run = self._running.get(cell.key) or self._untrained.get(cell.key)
            self._end(run.failure(failure) if run else Outcome(key=cell.key, error=failure))
        finally:
            self._turn(None)
