"""Checkpoint recorder: records in the queue which checkpoint each cell would resume from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import Checkpoint
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.finish import save_checkpoints


class CheckpointRecorder:
    """Records checkpoints in its own task, so that the heartbeats that report them never wait.

    Args:
        database: the queue.
        discard: called with checkpoints that are not needed any more, and their cells' keys.
    """

    def __init__(
        self,
        database: QueueDatabase,
        discard: Callable[[Sequence[tuple[str, Checkpoint]]], None],
    ) -> None:
        self._database = database
        self._discard = discard
        self._new: dict[str, Checkpoint] = {}  # by key: only a cell's newest needs recording
        self._added = asyncio.Event()
        self._recording = asyncio.Lock()

    def add(self, key: str, checkpoint: Checkpoint) -> None:
        """Adds a cell's new checkpoint, which is already in the store."""
        if (older := self._new.get(key)) is not None:
            self._discard([(key, older)])
        self._new[key] = checkpoint
        self._added.set()

    async def run(self) -> None:
        """Records checkpoints as they arrive; ends only when cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            await self.flush()

    async def flush(self) -> None:
        """Returns when all checkpoints added so far are recorded."""
        async with self._recording:
            saved, self._new = self._new, {}
            if saved:
                replaced = await self._database.write_until_done(
                    save_checkpoints, list(saved.values())
                )
                failpoint("checkpoint-recorded")
                self._discard(replaced)
