"""Kills workers, coordinator and drivers of a job at random, and restarts drivers until it ends."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import chaos_driver
import harness  # noqa: F401
from chaos_driver import STAGES
from support.processes import actors

from stn_cluster.queue.attempts import utc_now
from stn_cluster.queue.database import FILE

POLL_SECONDS = 0.05
STALL_SECONDS = 300.0  # without a new result, and the run is given up


class Kind(StrEnum):
    """Kinds of processes that are killed."""

    WORKER = "worker"
    COORDINATOR = "coordinator"
    DRIVER = "driver"


@dataclass(frozen=True)
class Kill:
    """A kill that hit a living process."""

    kind: Kind
    time: float  # seconds since 1970
    stage: str  # how far a driver was; what an actor was doing


class StalledError(Exception):
    """The job has made no progress for a long time."""


class Drivers:
    """One driver at a time, and another when it is killed, until one has seen the job's end.

    Args:
        arguments: the driver's.
        folder: for what they say.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.ended = False
        self.failures = 0  # that ended by themselves, and not well
        self._command = [sys.executable, chaos_driver.__file__, *arguments]
        self._stages = folder / "driver.out"
        self._errors = folder / "drivers.err"
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Starts a driver if none runs."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self.ended = code == 0
            self.failures += code not in (0, -signal.SIGKILL)
            self._process = None
        if self._process is None and not self.ended:
            with self._stages.open("wb") as stages, self._errors.open("ab") as errors:
                self._process = subprocess.Popen(self._command, stdout=stages, stderr=errors)

    def alive(self) -> dict[int, str]:
        """Process id and stage of the present driver."""
        if self._process is None or self._process.poll() is not None:
            return {}
        said = [word for word in self._stages.read_text().split() if word in STAGES]
        return {self._process.pid: said[-1] if said else "loading"}

    def close(self) -> None:
        """Ends the present driver."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Chaos:
    """A job, and the kills during it.

    Args:
        folder: of the service's store and state.
        cells: how many the job has.
        drivers: who submit it.
        random: decides.
    """

    def __init__(self, folder: Path, cells: int, drivers: Drivers, random: random.Random) -> None:
        self.kills: list[Kill] = []
        self._queue = folder / "state" / FILE
        self._cells = cells
        self._drivers = drivers
        self._random = random
        self._accepted = 0
        self._progress = time.monotonic()  # when the last result was seen

    def run(self, kills: int) -> None:
        """Kills each kind `kills` times, spread over the job, and waits for the job's end.

        Raises:
            StalledError: it does not end.
        """
        kinds = [kind for kind in Kind for _ in range(kills)]
        self._random.shuffle(kinds)
        last = max(1, self._cells * 9 // 10)  # the job must not end before its last kill
        moments = sorted(self._random.randrange(last) for _ in kinds)
        for kind, moment in zip(kinds, moments, strict=True):
            while self._look() < moment:
                time.sleep(POLL_SECONDS)
            until = time.monotonic() + self._random.uniform(0.0, 1.0)
            while time.monotonic() < until or not self._kill(kind):
                self._look()
                time.sleep(POLL_SECONDS)
        while not self._drivers.ended:
            self._look()
            time.sleep(POLL_SECONDS)

    def _kill(self, kind: Kind) -> bool:
        """Kills a process of a kind; returns whether there was one."""
        drivers = self._drivers.alive()
        found = drivers if kind is Kind.DRIVER else actors(kind.capitalize())
        if not found:
            return False
        pid = self._random.choice(sorted(found))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills.append(Kill(kind, time.time(), found[pid]))
        what = f"{kind} {pid}, {found[pid]}, after {self._accepted}"
        print(f"{utc_now():%H:%M:%S}: {what}", file=sys.stderr, flush=True)
        return True

    def _look(self) -> int:
        """Keeps a driver running; returns the number of results in the queue."""
        self._drivers.keep()
        accepted = self._count()
        now = time.monotonic()
        if accepted > self._accepted:
            self._accepted, self._progress = accepted, now
        elif now - self._progress > STALL_SECONDS:
            raise StalledError(f"no result for {STALL_SECONDS:g} s, after {accepted}")
        return accepted

    def _count(self) -> int:
        """Reads the queue's file directly, without the coordinator."""
        try:
            db = sqlite3.connect(f"file:{self._queue}?mode=ro", uri=True)
            try:
                rows = db.execute("SELECT count(*) FROM cells WHERE state = 'succeeded'")
                return int(rows.fetchone()[0])
            finally:
                db.close()
        except sqlite3.OperationalError:  # it is not there yet, or just being opened
            return self._accepted
