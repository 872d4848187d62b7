"""Runs packs in a worker's process: training, reports, checkpoints. Knows nothing of Ray."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from stn_cluster.cluster.messages import STATE, WEIGHTS, Assignment, Report, WorkerInfo
from stn_cluster.data.prepared import PreparedData
from stn_cluster.errors import StoreError
from stn_cluster.registry import load_plugins
from stn_cluster.store import Store
from stn_cluster.training.outcome import Outcome
from stn_cluster.training.trainer import PackTrainer

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.5
WRITE_RETRY_SECONDS = 2.0


class Runner:
    """Trains packs on one device.

    Args:
        store: the store's URI, for checkpoints.
        data_root: where data sets that live in files have them on this machine.
        threads: of arithmetic; results on a CPU depend on it in their last bits.
        checkpoint_seconds: between checkpoints of running cells.
        device: 'cpu' or 'cuda'.
    """

    def __init__(
        self,
        store: str,
        data_root: str | None,
        threads: int,
        checkpoint_seconds: float,
        device: str,
    ) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # its 10 bits are not the CPU's float32
        self.device = torch.device(device)
        self.store = Store.open(store, create=False)
        self.data = PreparedData(Path(data_root) if data_root else None, self.device)
        self.checkpoint_seconds = checkpoint_seconds
        self._stop = threading.Event()

    def info(self) -> WorkerInfo:
        """Where it runs."""
        cuda = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        return WorkerInfo(socket.gethostname(), name, torch.__version__)

    def stop(self) -> None:
        """Ends the pack in training at its next step, with a checkpoint; from any thread."""
        self._stop.set()

    def train(self, pack: tuple[Assignment, ...]) -> Iterator[Report]:
        """Trains a pack; yields reports, the last one when nothing is left."""
        for assignment in pack:
            load_plugins(assignment.cell.plugins)
        attempts = {a.cell.key: a.attempt for a in pack}
        trainer = PackTrainer([a.cell for a in pack], self.data, self._states(pack))
        yield Report(trainer.steps(), first=True)
        reported = saved = time.monotonic()
        for progress in trainer.run():
            now = time.monotonic()
            ended = tuple(self._keep(o, attempts[o.key]) for o in progress.ended)
            if ended or now - reported >= REPORT_SECONDS:
                reported = now
                yield Report(dict(progress.steps), ended)
            if self._stop.is_set() or now - saved >= self.checkpoint_seconds:
                saved = now
                for key, state in trainer.states().items():
                    self._save(key, attempts[key], state)
            if self._stop.is_set():
                return

    def _save(self, key: str, attempt: str, state: bytes) -> None:
        """Writes a checkpoint if it can: without it, an interruption just costs more."""
        try:
            self.store.write_checkpoint(key, attempt, STATE, state)
        except StoreError as error:
            log.warning("no checkpoint: %s", error)

    def _states(self, pack: tuple[Assignment, ...]) -> dict[str, bytes]:
        """The checkpoints that the pack's cells go on from, by key."""
        states = {}
        for assignment in pack:
            key, resume = assignment.cell.key, assignment.resume
            if resume and (state := self.store.read_checkpoint(key, resume, STATE)):
                states[key] = state
        return states

    def _keep(self, outcome: Outcome, attempt: str) -> Outcome:
        """Writes a trained cell's weights to the store; they don't travel with the report."""
        while outcome.weights is not None:
            try:
                self.store.write_checkpoint(outcome.key, attempt, WEIGHTS, outcome.weights)
                break
            except StoreError as error:
                log.warning("trained weights wait in memory: %s", error)
                if self._stop.wait(WRITE_RETRY_SECONDS):
                    raise
        return replace(outcome, weights=None)
