"""Supervision: the coordinator's tasks have names, and if one fails, the process ends.

A coordinator without one of its tasks would keep handing out work without processing the results.
Ray restarts its process, and recovery restores what was in progress. A failure that repeats at once
is not retried forever: crashes are counted in a file in the state folder. So are the times when the
process was killed because memory was short, which only the next process can know.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from stn_cluster.cluster.memory import count_kills
from stn_cluster.cluster.ray_exits import exit_of

log = logging.getLogger(__name__)

MAX_CRASHES = 3  # crashes within WINDOW_SECONDS after which the service ends
WINDOW_SECONDS = 60.0
MEMORY_WINDOW_SECONDS = 600.0  # the same, if each time it was killed because memory was short
CRASHED = 70  # exit code of a process that ends because a task failed


class CrashLog:
    """Log of the coordinator's crashes, a file in its state folder.

    Args:
        folder: the state folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "crashes.json"
        self._process = folder / "process.json"  # the present process, until it ends by itself

    def begin(self) -> None:
        """Notes that this process has begun, so that the next one can tell whether it was killed
        because memory was short; and whether the one before it was."""
        with suppress(OSError):  # a full disk: it is not counted
            with suppress(FileNotFoundError, ValueError, KeyError):
                before = json.loads(self._process.read_text())
                end = exit_of(before["pid"])
                if (end is not None and end.for_memory) or count_kills() > before["kills"]:
                    self.add("it was killed, as memory was short", memory=True)
            self._process.write_text(json.dumps({"pid": os.getpid(), "kills": count_kills()}))

    def add(self, message: str, *, memory: bool = False) -> None:
        """Adds a crash.

        Args:
            message: what failed.
            memory: whether the process was killed because memory was short.

        Raises:
            OSError: it cannot be written.
        """
        crash = {"at": time.time(), "message": message, "memory": memory}
        self._path.write_text(json.dumps([*self._read(), crash][-MAX_CRASHES:]))
        self._process.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes all crashes when a new service starts."""
        self._path.unlink(missing_ok=True)
        self._process.unlink(missing_ok=True)

    def verdict(self) -> str | None:
        """Reason why the service must end: too many recent crashes; None if it may continue."""
        crashes = self._read()
        if len(crashes) < MAX_CRASHES:
            return None
        memory = all(crash.get("memory") for crash in crashes)
        window = MEMORY_WINDOW_SECONDS if memory else WINDOW_SECONDS
        if crashes[0]["at"] <= time.time() - window:
            return None
        if memory:
            return (
                f"memory was short: the coordinator was killed for it {len(crashes)} times within "
                f"{window / 60:.0f} minutes, after its workers; start fewer workers, or take a "
                "machine with more memory"
            )
        return (
            f"the coordinator failed {len(crashes)} times within {window:.0f} seconds, "
            f"last with: {crashes[-1]['message']}"
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
