"""Workers and a coordinator with deliberate faults; imported in their processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerPool
from stn_cluster.queue.attempts import Attempt


class Unreaped(WorkerPool):
    """Pool that cannot kill lost workers, as if the network were broken."""

    def __init__(self, settings: Settings, coordinator: Any) -> None:
        super().__init__(settings, coordinator)
        self._kept: list[Any] = []

    def remove(self, worker: WorkerHandle) -> None:
        self.workers.pop(worker.name, None)
        self._kept.append(worker.actor)  # Ray ends an actor without references


class Helpless(Coordinator):
    """Coordinator with such a pool."""

    worker_pool = Unreaped


class FaultyPool(WorkerPool):
    """Pool that raises an error as often as a file in the state folder says."""

    async def refresh_nodes(self) -> None:
        left = Path(self.settings.state) / "faults"
        count = int(left.read_text()) if left.exists() else 0
        if count > 0:
            left.write_text(str(count - 1))
            raise KeyError("a fault of our own")
        await super().refresh_nodes()


class Faulty(Coordinator):
    """Coordinator with such a pool: its task that plans workers fails."""

    worker_pool = FaultyPool


def __getattr__(name: str) -> type:
    """Creates the runners below on first use, so that the coordinator does not import torch."""
    from stn_cluster.cluster.pack_runner import PackRunner

    class Signalled(PackRunner):
        """Runner that signals its process before the first report; later packs train as usual."""

        def train(self, pack: Sequence[Attempt], log: AttemptLog) -> Iterator[Report]:
            try:
                (Path(self.settings.state) / "signalled").touch(exist_ok=False)
            except FileExistsError:
                return super().train(pack, log)
            os.kill(os.getpid(), signal.Signals[name])
            return super().train(pack, log)

    if name not in ("SIGSTOP", "SIGKILL"):
        raise AttributeError(name)
    return Signalled
