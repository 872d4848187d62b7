"""Workers and a coordinator with the trouble that a test wants; imported in their processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from stn_cluster.cluster.attempt_log import AttemptLog
from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.protocol import Assignment, Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.worker_pool import WorkerHandle, WorkerPool


class Unreaped(WorkerPool):
    """Cannot reach the processes of the workers that it gives up, as behind a broken cable."""

    def __init__(self, settings: Settings, coordinator: Any) -> None:
        super().__init__(settings, coordinator)
        self._kept: list[Any] = []

    def dismiss(self, member: WorkerHandle) -> None:
        self.members.pop(member.name, None)
        self._kept.append(member.actor)  # Ray ends an actor whom nobody knows


class Helpless(Coordinator):
    """Has such a crew."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._crew = Unreaped(settings, ray.get_runtime_context().current_actor)


def __getattr__(name: str) -> type:
    """The runners below, made when they are asked for: the coordinator does without torch."""
    from stn_cluster.cluster.pack_runner import PackRunner

    class Signalled(PackRunner):
        """The first pack of all is met by a signal before a word is said of it."""

        def train(self, pack: tuple[Assignment, ...], log: AttemptLog) -> Iterator[Report]:
            try:
                (Path(self.settings.state) / "signalled").touch(exist_ok=False)
            except FileExistsError:
                return super().train(pack, log)
            os.kill(os.getpid(), signal.Signals[name])
            return super().train(pack, log)

    if name not in ("SIGSTOP", "SIGKILL"):
        raise AttributeError(name)
    return Signalled
