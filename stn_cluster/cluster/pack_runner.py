"""Pack runner: training, checkpoints and logs of packs in a worker, independent of Ray."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.data.cache import DataCache
from stn_cluster.errors import StoreError, UserError
from stn_cluster.evaluation.pack_evaluator import GivenUpError, PackEvaluator
from stn_cluster.failpoints import failpoint
from stn_cluster.inference.stored_cells import StoredCell
from stn_cluster.inference.trained_models import TrainedWeights, built, trained_weights
from stn_cluster.queue.attempts import WEIGHTS, Attempt, Checkpoint, WorkerInfo
from stn_cluster.registry import ClashError, check_weights, load_submitted
from stn_cluster.store import Store
from stn_cluster.training.activity import Activity
from stn_cluster.training.device import device_name
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.trainer import PackTrainer
from stn_cluster.training.weight_files import read_weights

P = ParamSpec("P")
T = TypeVar("T")

STORE_RETRY_SECONDS = 2.0
LOG_SECONDS = 30.0  # time between two lines of progress in an attempt's log


@dataclass
class _Saved:
    """Time of a pack's last checkpoint, and steps done by then, by key."""

    time: float
    steps: dict[str, int]


@dataclass(frozen=True)
class TrainedCells:
    """Trained cells of a store, which is read again while it is unavailable."""

    store: Store
    data_root: Path | None
    retry: Callable[..., Any]  # calls what is given, with its arguments

    def network(self, stored: StoredCell) -> nn.Module:
        """See `stn_cluster.evaluation.pack_evaluator.TrainedCells`."""
        cell = stored.cell
        if not cell.is_trained:
            file = read_weights(check_weights(cell, self.data_root))
            return built(self.store, TrainedWeights(stored, file, []))
        store = self.store
        kept = self.retry(store.checkpoints.read, cell.key, stored.attempt, WEIGHTS)
        published = None if kept is not None else self.retry(store.weights.read, cell.key)
        return built(store, trained_weights(store, stored, kept, published))

    def predictions(self, attempts: Container[str]) -> dict[str, list[int]]:
        """See `stn_cluster.evaluation.pack_evaluator.TrainedCells`."""
        found: dict[str, list[int]] = self.retry(self.store.predicted_classes, attempts)
        return found


class PackRunner:
    """Trains packs on one device, one at a time.

    Args:
        settings: settings of the service.
        device: 'cpu' or 'cuda'.

    Raises:
        StoreError: this node cannot reach the store.
        UserError: the data root is not a folder on this node.
    """

    def __init__(self, settings: Settings, device: str) -> None:
        torch.set_num_threads(settings.threads_per_worker)
        torch.backends.cudnn.allow_tf32 = False  # TF32 is less precise than the CPU's float32
        self.settings = settings
        self.device = torch.device(device)
        self.store = Store.open(settings.store, create=False)
        data_root = Path(settings.data_root) if settings.data_root else None
        if data_root and not data_root.is_dir():
            raise UserError(f"{data_root}: no such folder on {socket.gethostname()}")
        self.data = DataCache(data_root, self.device)
        self.degraded_reason: str | None = None  # why the store is unavailable; None if it is not
        self.activity = Activity()
        self._stop = threading.Event()
        self._dropped: set[str] = set()  # ids of attempts

    def info(self) -> WorkerInfo:
        """Host, device and process of this worker."""
        # str(): torch.__version__ is a class that unpickling would import torch for.
        version = str(torch.__version__)
        return WorkerInfo(
            socket.gethostname(), device_name(self.device), version, process=os.getpid()
        )

    def stop(self) -> None:
        """Ends the current pack at its next step, with a checkpoint; from any thread."""
        self._stop.set()

    def drop(self, attempts: set[str]) -> None:
        """Ends attempts at their next step, without reporting them; from any thread."""
        self._dropped |= attempts

    def train(self, pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
        """Trains a pack; yields a report every few steps, and whenever a cell ends.

        Args:
            pack: the attempts.
            log: gets lines for the attempts' logs.
        """
        rest = list(pack)
        while rest:
            group, failed, rest = self._with_plugins(rest, log)
            if failed:
                yield Report(steps={a.id: 0 for a in (*group, *rest)}, ended=failed)
            yield from self._train(group, log)
            if self._stop.is_set():
                return

    def _train(self, pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
        """Trains attempts whose plug-ins are loaded."""
        attempts = {a.item.key: a.id for a in pack}
        trainer = self._trainer(pack, log, lambda key: log.turn(attempts[key] if key else None))
        steps = {attempts[key]: step for key, step in trainer.steps().items()}
        yield Report(steps=steps, started=steps)
        logged = time.monotonic()
        saved = _Saved(logged, trainer.steps())
        sent: set[str] = set()  # test sets whose labels were reported
        for progress in trainer.run():
            ended = {
                attempts[outcome.key]: kept
                for outcome in progress.ended
                if (kept := self._keep(outcome, attempts[outcome.key], log, sent))
            }
            for key in [key for key in progress.steps if attempts[key] in self._dropped]:
                trainer.drop(key)
            written = {}
            stopping = self._stop.is_set()  # read once, so that it never stops without a checkpoint
            if stopping or self._due(saved, trainer.steps()):
                written = self._save(trainer, attempts, log)
                saved = _Saved(time.monotonic(), trainer.steps())
            steps = {attempts[key]: step for key, step in trainer.steps().items()}
            if time.monotonic() - logged > LOG_SECONDS:
                logged = time.monotonic()
                for attempt, step in steps.items():
                    log.line(attempt, f"step {step}")
            self.activity.begin("waits for the coordinator")
            yield Report(steps=steps, saved=written, ended=ended)
            if stopping:
                return

    def _trainer(
        self, pack: Sequence[Attempt], log: AttemptLog, turn: Callable[[str | None], None]
    ) -> PackTrainer | PackEvaluator:
        """What works on a pack: of cells to train, or of evaluations."""
        evaluations = [a.evaluation for a in pack if a.evaluation is not None]
        if not evaluations:
            cells, states = [a.cell for a in pack], self._states(pack, log)
            return PackTrainer(cells, self.data, states, activity=self.activity, turn=turn)
        weights = {a.item.key: a.weights_attempt or "" for a in pack}
        reading = TrainedCells(self.store, self.data.root, partial(self._read, pack[0].id, log))
        return PackEvaluator(
            evaluations, weights, self.data, reading, activity=self.activity, turn=turn
        )

    def _read(self, attempt: str, log: AttemptLog, call: Callable[..., T], *args: Any) -> T:
        """Reads the store for a pack of evaluations, and retries while it is unavailable.

        Raises:
            GivenUpError: it is still unavailable, and the pack was stopped.
        """
        while True:
            try:
                return self._retry(attempt, log, call, *args)
            except StoreError as error:
                if self._stop.is_set():
                    raise GivenUpError from error
                time.sleep(STORE_RETRY_SECONDS)  # this attempt was dropped, and others go on

    def _with_plugins(
        self, pack: Sequence[Attempt], log: AttemptLog
    ) -> tuple[list[Attempt], dict[str, Outcome], list[Attempt]]:
        """Loads the attempts' plug-ins.

        Returns:
            The attempts that can be trained side by side, the failures of those whose plug-ins
            cannot be loaded, and the attempts that must wait: their plug-ins have modules of the
            same names as those of others, as two people's may.
        """
        group: list[Attempt] = []
        failed: dict[str, Outcome] = {}
        later: list[Attempt] = []
        loaded: set[str] = set()
        for attempt in pack:
            self.activity.begin("imports its plug-ins", attempt.item.key)

            def fetch(digest: str, attempt: str = attempt.id) -> bytes | None:
                return self._retry(attempt, log, self.store.plugins.read, digest)

            try:
                loaded |= load_submitted(attempt.item, fetch, keep=loaded)
                group.append(attempt)
            except ClashError as error:
                if loaded:
                    later.append(attempt)
                else:  # within this cell
                    failed[attempt.id] = Outcome(key=attempt.item.key, error=f"UserError: {error}")
            except StoreError:  # the attempt was stopped or dropped meanwhile
                continue
            except UserError as error:
                failed[attempt.id] = Outcome(key=attempt.item.key, error=f"UserError: {error}")
        return group, failed, later

    def _due(self, saved: _Saved, steps: dict[str, int]) -> bool:
        """Whether a checkpoint is due."""
        if time.monotonic() - saved.time >= self.settings.checkpoint_seconds:
            return True
        every = self.settings.checkpoint_steps
        return every is not None and any(
            step - saved.steps.get(key, 0) >= every for key, step in steps.items()
        )

    def _save(
        self, trainer: PackTrainer | PackEvaluator, attempts: dict[str, str], log: AttemptLog
    ) -> dict[str, int]:
        """Writes checkpoints if possible; a failure is only logged, as training can continue."""
        written = {}
        steps = trainer.steps()
        for key, state in trainer.checkpoints().items():
            attempt, step = attempts[key], steps[key]
            self.activity.begin("writes a checkpoint to the store")
            try:
                name = Checkpoint(attempt, step).name
                self.store.checkpoints.write(key, attempt, name, state)
            except StoreError as error:
                log.line(attempt, f"no checkpoint at step {step}: {error}")
                continue
            failpoint("checkpoint-written")
            written[attempt] = step
        return written

    def _states(self, pack: Sequence[Attempt], log: AttemptLog) -> dict[str, bytes]:
        """Checkpoints that the pack's cells resume from, by key."""
        states = {}
        for a in pack:
            if (checkpoint := a.resume_from) is None:
                continue
            path = (a.cell.key, checkpoint.attempt, checkpoint.name)
            try:
                state = self._retry(a.id, log, self.store.checkpoints.read, *path)
            except StoreError:  # the attempt was stopped or dropped, and ends at its first step
                continue
            if state is None:
                log.line(a.id, f"the checkpoint of step {checkpoint.step} is missing")
            else:
                log.line(a.id, f"resumes from step {checkpoint.step} of {checkpoint.attempt}")
                states[a.cell.key] = state
        return states

    def _keep(
        self, outcome: Outcome, attempt: str, log: AttemptLog, sent: set[str]
    ) -> Outcome | None:
        """Writes a trained cell's weights to the store, as reports do not contain them.

        Labels are reported once per pack and test set, as its cells share them.

        Returns:
            The outcome without weights; None if the attempt was stopped or dropped meanwhile.
        """
        if outcome.weights is not None:
            arguments = (outcome.key, attempt, WEIGHTS, outcome.weights)
            try:
                self._retry(attempt, log, self.store.checkpoints.write, *arguments)
            except StoreError:
                return None
            failpoint("weights-written")
        labels = outcome.labels
        if labels is None or labels.test_set in sent:
            return replace(outcome, weights=None, labels=None)
        sent.add(labels.test_set)
        return replace(outcome, weights=None)

    def _retry(
        self, attempt: str, log: AttemptLog, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Reads or writes the store, and retries while it is unavailable.

        Raises:
            StoreError: it is still unavailable, and the attempt was stopped or dropped.
        """
        while True:
            self.activity.begin("waits for the store")
            try:
                result = call(*args, **kwargs)
            except StoreError as error:
                self.degraded_reason = str(error)
                log.line(attempt, f"waits for the store: {error}")
                if self._stop.wait(STORE_RETRY_SECONDS) or attempt in self._dropped:
                    self.degraded_reason = None  # it does not wait any more
                    raise
            else:
                self.degraded_reason = None
                return result
