"""Runs packs in a worker's process: training, checkpoints, logs. Knows nothing of Ray."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.messages import WEIGHTS, Assignment, Checkpoint, Report, WorkerInfo
from stn_cluster.cluster.settings import Settings
from stn_cluster.data.prepared import PreparedData
from stn_cluster.errors import StoreError, UserError
from stn_cluster.faults import reach
from stn_cluster.grid import Cell
from stn_cluster.registry import load_plugins
from stn_cluster.store import Store
from stn_cluster.training.device import device_name
from stn_cluster.training.memory import keep_freed_memory
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.trainer import PackTrainer

P = ParamSpec("P")
T = TypeVar("T")

STORE_RETRY_SECONDS = 2.0
LOG_SECONDS = 30.0  # between two lines of progress in an attempt's log


@dataclass
class _Saved:
    """When a pack was last checkpointed, and where it stood."""

    time: float
    steps: dict[str, int]


class Runner:
    """Trains packs on one device, one after the other.

    Args:
        settings: the service's.
        device: 'cpu' or 'cuda'.

    Raises:
        StoreError: the store cannot be reached from here.
        UserError: the data root is not a folder here.
    """

    def __init__(self, settings: Settings, device: str) -> None:
        keep_freed_memory()
        torch.set_num_threads(settings.threads_per_worker)
        torch.backends.cudnn.allow_tf32 = False  # its 10 bits are not the CPU's float32
        self.settings = settings
        self.device = torch.device(device)
        self.store = Store.open(settings.store, create=False)
        data_root = Path(settings.data_root) if settings.data_root else None
        if data_root and not data_root.is_dir():
            raise UserError(f"{data_root}: no such folder on {socket.gethostname()}")
        self.data = PreparedData(data_root, self.device)
        self.trouble: str | None = None  # what keeps it from the store, while it lasts
        self._stop = threading.Event()
        self._dropped: set[str] = set()  # attempts

    def info(self) -> WorkerInfo:
        """Where it runs."""
        # A plain string: torch's own is of a class of its, which whoever reads it would import.
        version = str(torch.__version__)
        return WorkerInfo(
            socket.gethostname(), device_name(self.device), version, process=os.getpid()
        )

    def stop(self) -> None:
        """Ends the pack in training at its next step, with a checkpoint; from any thread."""
        self._stop.set()

    def drop(self, attempts: set[str]) -> None:
        """Ends some attempts at their next step, without a word more of them; from any thread."""
        self._dropped |= attempts

    def train(self, pack: tuple[Assignment, ...], log: AttemptLog) -> Iterator[Report]:
        """Trains a pack; yields about every few steps, and whenever a cell ends.

        Args:
            pack: cells, each as an attempt.
            log: what the attempts' logs are to say.
        """
        attempts = {a.cell.key: a.attempt for a in pack}
        failed = {a.attempt: failure for a in pack if (failure := _import(a.cell))}
        if failed:
            yield Report(ended=failed)
        pack = tuple(a for a in pack if a.attempt not in failed)
        trainer = PackTrainer([a.cell for a in pack], self.data, self._states(pack, log))
        steps = {attempts[key]: step for key, step in trainer.steps().items()}
        yield Report(steps=steps, began=steps)
        logged = time.monotonic()
        saved = _Saved(logged, trainer.steps())
        for progress in trainer.run():
            ended = {
                attempts[outcome.key]: self._keep(outcome, attempts[outcome.key], log)
                for outcome in progress.ended
            }
            for key in [key for key in progress.steps if attempts[key] in self._dropped]:
                trainer.drop(key)
            written = {}
            if self._stop.is_set() or self._due(saved, trainer.steps()):
                written = self._save(trainer, attempts, log)
                saved = _Saved(time.monotonic(), trainer.steps())
            steps = {attempts[key]: step for key, step in trainer.steps().items()}
            if time.monotonic() - logged > LOG_SECONDS:
                logged = time.monotonic()
                for attempt, step in steps.items():
                    log.line(attempt, f"step {step}")
            yield Report(steps=steps, saved=written, ended=ended)
            if self._stop.is_set():
                return

    def _due(self, saved: _Saved, steps: dict[str, int]) -> bool:
        """Whether it is time for a checkpoint."""
        if time.monotonic() - saved.time >= self.settings.checkpoint_seconds:
            return True
        every = self.settings.checkpoint_steps
        return every is not None and any(
            step - saved.steps.get(key, 0) >= every for key, step in steps.items()
        )

    def _save(
        self, trainer: PackTrainer, attempts: dict[str, str], log: AttemptLog
    ) -> dict[str, int]:
        """Writes checkpoints if it can: without one, an interruption just costs more."""
        written = {}
        steps = trainer.steps()
        for key, state in trainer.states().items():
            attempt, step = attempts[key], steps[key]
            try:
                name = Checkpoint(attempt, step).name
                self.store.write_checkpoint(key, attempt, name, state)
            except StoreError as error:
                log.line(attempt, f"no checkpoint at step {step}: {error}")
                continue
            reach("checkpoint-written")
            written[attempt] = step
        return written

    def _states(self, pack: tuple[Assignment, ...], log: AttemptLog) -> dict[str, bytes]:
        """The checkpoints that the pack's cells go on from, by key."""
        states = {}
        for a in pack:
            if a.resume is None:
                continue
            where = (a.cell.key, a.resume.attempt, a.resume.name)
            state = self._patiently(a.attempt, log, self.store.read_checkpoint, *where)
            if state is None:
                log.line(a.attempt, f"the checkpoint of step {a.resume.step} is not there")
            else:
                log.line(a.attempt, f"goes on from step {a.resume.step} of {a.resume.attempt}")
                states[a.cell.key] = state
        return states

    def _keep(self, outcome: Outcome, attempt: str, log: AttemptLog) -> Outcome:
        """Writes a trained cell's weights to the store; they don't travel with the report."""
        if outcome.weights is not None:
            where = (outcome.key, attempt, WEIGHTS, outcome.weights)
            self._patiently(attempt, log, self.store.write_checkpoint, *where)
            reach("weights-written")
        return replace(outcome, weights=None)

    def _patiently(
        self, attempt: str, log: AttemptLog, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Reads or writes, again and again while the store is away.

        Raises:
            StoreError: it is still away, and the attempt is to end.
        """
        while True:
            try:
                done = call(*args, **kwargs)
            except StoreError as error:
                self.trouble = str(error)
                log.line(attempt, f"waits for the store: {error}")
                if self._stop.wait(STORE_RETRY_SECONDS) or attempt in self._dropped:
                    raise
            else:
                self.trouble = None
                return done


def _import(cell: Cell) -> Outcome | None:
    """Imports a cell's plug-ins; what became of the cell if that is not possible here."""
    try:
        load_plugins(cell.plugins)
    except UserError as error:
        return Outcome(key=cell.key, error=f"UserError: {error}")
    return None
