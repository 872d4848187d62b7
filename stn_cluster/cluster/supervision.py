"""Supervision: the coordinator's tasks have names, and if one fails, the process ends.

A coordinator without one of its tasks would keep handing out work without processing the results.
Ray restarts its process, and recovery restores what was in progress. A failure that repeats at once
is not retried forever: crashes are counted in a file in the state folder.
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

MAX_CRASHES = 3  # crashes within WINDOW_SECONDS after which the service ends
WINDOW_SECONDS = 60.0
CRASHED = 70  # exit code of a process that ends because a task failed


class CrashLog:
    """Log of the coordinator's crashes, a file in its state folder.

    Args:
        folder: the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "crashes.json"

    def add(self, message: str) -> None:
        """Adds a crash.

        Raises:
            OSError: it cannot be written.
        """
        crashes = [*self._read(), {"at": time.time(), "message": message}][-MAX_CRASHES:]
        self._path.write_text(json.dumps(crashes))

    def clear(self) -> None:
        """Removes all crashes when a new service starts."""
        self._path.unlink(missing_ok=True)

    def verdict(self) -> str | None:
        """Reason why the service must end: too many recent crashes; None if it may continue."""
        recent = [crash for crash in self._read() if crash["at"] > time.time() - WINDOW_SECONDS]
        if len(recent) < MAX_CRASHES:
            return None
        return (
            f"the coordinator failed {len(recent)} times within {WINDOW_SECONDS:.0f} seconds, "
            f"last with: {recent[-1]['message']}"
        )

    def _read(self) -> list[dict[str, Any]]:
        try:
            crashes = json.loads(self._path.read_text())
        except (OSError, ValueError):  # no file yet, or incomplete because of a full disk
            return []
        return crashes if isinstance(crashes, list) else []


class Supervisor:
    """Starts the coordinator's tasks and watches them.

    Args:
        crashes: log to which failures of tasks are added.
    """

    def __init__(self, crashes: CrashLog) -> None:
        self._crashes = crashes
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task; if it fails, the process ends.

        Args:
            name: name of the task, such as 'write results'.
            work: coroutine of the task.
        """
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel_all(self) -> None:
        """Cancels all tasks."""
        for task in self._tasks:
            task.cancel()

    def crash(self, name: str, error: BaseException) -> NoReturn:
        """Logs a failure, and ends the process."""
        log.critical("the coordinator ends: %s failed", name, exc_info=error)
        message = f"{name}: {type(error).__name__}: {error}"
        try:
            self._crashes.add(message)
        except OSError:  # it cannot be counted, so at least limit the rate of crashes
            time.sleep(WINDOW_SECONDS / MAX_CRASHES)
        logging.shutdown()
        os._exit(CRASHED)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.crash(task.get_name(), error)
