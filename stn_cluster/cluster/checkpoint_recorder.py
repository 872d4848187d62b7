"""Checkpoint recorder: tells the queue which checkpoint each running cell would resume from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stn_cluster.failpoints import failpoint
from stn_cluster.queue.attempts import Checkpoint
from stn_cluster.queue.database import QueueDatabase
from stn_cluster.queue.finish import save_checkpoints


class CheckpointRecorder:
    """Records checkpoints in a task of its own: heartbeats, which bring them, never wait for it.

    Args:
        database: the queue.
        discard: gets checkpoints, with their cells' keys, that nothing resumes from any more.
    """

    def __init__(
        self,
        database: QueueDatabase,
        discard: Callable[[Sequence[tuple[str, Checkpoint]]], None],
    ) -> None:
        self._database = database
        self._discard = discard
        self._new: dict[str, Checkpoint] = {}  # by key: only a cell's newest is worth recording
        self._added = asyncio.Event()
        self._recording = asyncio.Lock()

    def add(self, key: str, checkpoint: Checkpoint) -> None:
        """Takes a cell's new checkpoint, which is in the store."""
        if (older := self._new.get(key)) is not None:
            self._discard([(key, older)])
        self._new[key] = checkpoint
        self._added.set()

    async def run(self) -> None:
        """Records checkpoints as they come; ends only when it is cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            await self.flush()

    async def flush(self) -> None:
        """Returns when all that has come so far is recorded."""
        async with self._recording:
            saved, self._new = self._new, {}
            if saved:
                replaced = await self._database.write_until_done(
                    save_checkpoints, list(saved.values())
                )
                failpoint("checkpoint-recorded")
                self._discard(replaced)
