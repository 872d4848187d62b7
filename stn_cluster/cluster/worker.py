"""A worker: a long-lived Ray actor that trains packs, one per CPU core or GPU.

A thread of its own tells the coordinator now and then how far the pack is, and hears which attempts
are not the worker's any more. Not heard for a lease, the worker ends itself: by then its cells are
another's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import ray
from ray.exceptions import RayError

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Assignment, Report, WorkerInfo
from stn_cluster.cluster.settings import Settings
from stn_cluster.training.outcome import Outcome

LEASE_LOST = 75  # exit code
RETRY_SECONDS = 0.5


class Worker:
    """Runs a `Runner` and speaks for it.

    Args:
        name: unlike any other worker's.
        settings: the service's.
        coordinator: the actor to report to.
    """

    def __init__(self, name: str, settings: Settings, coordinator: Any) -> None:
        self.name = name
        self.settings = settings
        self._coordinator = coordinator
        # Here, so that the coordinator, which only names this class, starts without torch.
        module, _, runner = settings.runner.partition(":")
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        self._runner = getattr(import_module(module), runner)(settings, device)
        self._log = AttemptLog()
        self._lock = threading.Lock()
        self._latest = Report()  # what the coordinator has not been told yet
        self._training = threading.Event()
        self._acknowledged = time.monotonic()  # when the last word that was heard was sent
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def hello(self) -> WorkerInfo:
        """Where it runs."""
        info: WorkerInfo = self._runner.info()
        return replace(info, node=ray.get_runtime_context().get_node_id())

    def stop(self) -> None:
        """Ends the pack in training at its next step, with a checkpoint."""
        self._runner.stop()

    def train(self, pack: tuple[Assignment, ...]) -> None:
        """Trains a pack to its end; what comes of it is reported, not returned."""
        self._acknowledged = time.monotonic()
        self._latest = Report()
        self._training.set()
        try:
            report = Report()
            with self._log.gathering([a.attempt for a in pack]):
                for report in self._runner.train(pack, self._log):
                    self._note(report)
                    if report.ended:
                        self._tell(report.ended)
            if not report.ended or self._log:  # else the last word has been said
                self._tell({})
        finally:
            self._training.clear()

    def _note(self, report: Report) -> None:
        with self._lock:
            self._latest = replace(
                self._latest,
                steps=report.steps,
                began={**self._latest.began, **report.began},
                saved={**self._latest.saved, **report.saved},
            )

    def _tell(self, ended: Mapping[str, Outcome]) -> None:
        """Tells the coordinator where the pack stands, and waits for its answer."""
        with self._lock:
            log, trouble = self._log.take(), self._runner.trouble
            report = replace(self._latest, ended=ended, log=log, trouble=trouble)
            self._latest = Report(steps=report.steps, saved=report.saved)
        self._runner.drop(self._deliver(report))

    def _deliver(self, report: Report) -> set[str]:
        """Says it until it is heard; what is said twice changes nothing. Ends the process when the
        lease is over: then nobody may hear it any more."""
        while True:
            sent = time.monotonic()
            left = self._acknowledged + self.settings.lease_seconds - sent
            if left <= 0:
                os._exit(LEASE_LOST)
            try:
                lost: set[str] = ray.get(
                    self._coordinator.report.remote(self.name, report), timeout=left
                )
            except RayError:  # the coordinator is away, or the network
                time.sleep(min(RETRY_SECONDS, left))
            else:
                self._acknowledged = max(self._acknowledged, sent)
                return lost

    def _beat(self) -> None:
        """Tells the coordinator now and then; a thread of its own, for as long as it lives."""
        while True:
            time.sleep(self.settings.beat_seconds)
            if self._training.is_set():
                self._tell({})
