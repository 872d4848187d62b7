"""Supervision: the coordinator's tasks have names, and when one fails, the process ends.

A coordinator without one of its tasks would go on handing out work that nobody follows. Ray starts
its process again, and recovery makes good what was under way. A fault that comes back at once is
not retried for ever: crashes are counted in a file beside the queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

log = logging.getLogger(__name__)

MAX_CRASHES = 3  # within the window; then the service ends
WINDOW_SECONDS = 60.0
CRASHED = 70  # exit code of a process that a failed task has ended


class CrashLog:
    """The crashes of a service's coordinator, in its state folder.

    Args:
        folder: where the file is.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "crashes.json"

    def add(self, message: str) -> None:
        """Notes a crash.

        Raises:
            OSError: the disk refuses it.
        """
        crashes = [*self._read(), {"at": time.time(), "message": message}][-MAX_CRASHES:]
        self._path.write_text(json.dumps(crashes))

    def clear(self) -> None:
        """Forgets all crashes: a service starts that has none."""
        self._path.unlink(missing_ok=True)

    def verdict(self) -> str | None:
        """Why the service is to end, if it has crashed too often of late."""
        recent = [crash for crash in self._read() if crash["at"] > time.time() - WINDOW_SECONDS]
        if len(recent) < MAX_CRASHES:
            return None
        return (
            f"the coordinator failed {len(recent)} times within {WINDOW_SECONDS:.0f} seconds, "
            f"the last time so: {recent[-1]['message']}"
        )

    def _read(self) -> list[dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):  # none yet, or cut off by a full disk
            return []
        return found if isinstance(found, list) else []


class Supervisor:
    """Starts the coordinator's tasks and watches them.

    Args:
        crashes: gets the crash that a failed task is.
    """

    def __init__(self, crashes: CrashLog) -> None:
        self._crashes = crashes
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task; should it fail, the process ends.

        Args:
            name: what it does, as in 'write results'.
            work: what it runs.
        """
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel_all(self) -> None:
        """Ends all tasks."""
        for task in self._tasks:
            task.cancel()

    def crash(self, name: str, error: BaseException) -> NoReturn:
        """Logs what failed, and ends the process."""
        log.critical("the coordinator ends: %s failed", name, exc_info=error)
        message = f"{name}: {type(error).__name__}: {error}"
        try:
            self._crashes.add(message)
        except OSError:  # uncounted: then at least not in quick succession
            time.sleep(WINDOW_SECONDS / MAX_CRASHES)
        logging.shutdown()
        os._exit(CRASHED)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.crash(task.get_name(), error)
