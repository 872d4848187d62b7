"""A runner whose cells take no time, so that only the cost of the queue and of Ray remains."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence

import torch

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue.attempts import Attempt, WorkerInfo
from stn_cluster.training.activity import Activity
from stn_cluster.training.outcome import CurvePoint, Outcome, Predictions

N_TEST = 100
PREDICTIONS = Predictions(
    test_set="0" * 16,
    n_classes=10,
    first=bytes(N_TEST),
    second=bytes(N_TEST),
    confidence=bytes(2 * N_TEST),
    second_confidence=bytes(2 * N_TEST),
)


class NoopRunner:
    """A `PackRunner` (`stn_cluster.cluster`) whose cells succeed at once."""

    def __init__(self, settings: Settings, device: str) -> None:
        self.device = device
        self.degraded_reason: str | None = None
        self.activity = Activity()

    def info(self) -> WorkerInfo:
        """Host, device and process of the worker."""
        host = socket.gethostname()
        return WorkerInfo(host, self.device, str(torch.__version__), process=os.getpid())

    def stop(self) -> None:
        """Nothing to stop."""

    def drop(self, attempts: set[str]) -> None:
        """Nothing to drop."""

    def train(self, pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
        """Ends all cells of the pack with a complete record: row, curve and predictions."""
        started = {a.id: 0 for a in pack}
        yield Report(steps=started, started=started)
        yield Report(ended={a.id: _outcome(a) for a in pack})


def _outcome(attempt: Attempt) -> Outcome:
    iterations = attempt.cell.iterations
    return Outcome(
        key=attempt.cell.key,
        predictions=PREDICTIONS,
        confusion=(N_TEST, *[0] * 99),
        n_test=N_TEST,
        n_wrong=0,
        train_loss=0.0,
        parameters=1,
        iterations=iterations,
        train_seconds=0.001,
        images_per_second=1.0,
        curve=(CurvePoint(step=iterations, train_loss=0.0, lr=0.1, test_error=0.0),),
    )
