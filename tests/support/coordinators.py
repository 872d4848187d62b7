"""A coordinator in this process, without Ray, with fake workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stn_cluster.cluster.coordinator import Coordinator
from stn_cluster.cluster.protocol import Report
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import UserError
from support.result_writers import make_outcome, wait_until
from support.workers import FakePool, FakeWorker


@dataclass
class Context:
    """The attributes of Ray's runtime context that a coordinator uses."""

    was_current_actor_reconstructed: bool = False
    current_actor: object = None


class LocalCoordinator(Coordinator):
    """A coordinator with fake workers.

    Args:
        folder: for the store and the state.
        restarted: whether a coordinator of the same service has died before.
        settings: fields of `Settings`.
    """

    def __init__(self, folder: Path, *, restarted: bool = False, **settings: Any) -> None:
        fields = {"cells_per_pack": 1, "heartbeat_seconds": 0.05, **settings}
        self.store_path, self.state_path = folder / "store", folder / "state"
        store, state = str(self.store_path), str(self.state_path)
        super().__init__(Settings(**{"store": store, "state": state, **fields}), Context(restarted))

    def worker_pool(self, settings: Settings, coordinator: object) -> FakePool:  # type: ignore[override]
        self.pool = FakePool(settings, coordinator)
        return self.pool

    async def workers(self, count: int = 1) -> list[FakeWorker]:
        """Waits until `count` workers have a pack; returns them."""
        await self.opened()
        await wait_until(lambda: len(self.pool.busy) >= count)
        return self.pool.busy

    async def worker(self) -> FakeWorker:
        """Waits until the only worker has a pack; returns it."""
        [worker] = await self.workers()
        return worker

    async def finish(self, worker: FakeWorker, error: str | None = None) -> None:
        """Makes a worker report the results of its pack and end it."""
        ended = {a.id: make_outcome(a, error) for a in worker.attempts}
        await self.report(worker.name, Report(ended=ended))
        worker.return_pack()

    async def until_ended(self, job_id: str) -> None:
        """Waits until a job has ended."""
        while not (await self.status(job_id)).ended:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def local_coordinator(folder: Path, **settings: Any) -> AsyncIterator[LocalCoordinator]:
    """Runs a coordinator within the block, then stops it; see `LocalCoordinator`."""
    made = LocalCoordinator(folder, **settings)
    try:
        yield made
    finally:
        with suppress(UserError):
            await made.stop()
