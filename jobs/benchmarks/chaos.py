"""Chaos: a job of many short cells while its workers, coordinator and driver are killed at random.

Says its seed first and prints its figures last, as one line of JSON; exit code 1 if one is wrong.
The seed fixes what is killed after how many results; when that is, and whom it hits, is the
machine's.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import chaos_driver
import ray
import typer
from chaos_driver import STAGES, make_cells, make_settings
from chaos_figures import differences, of_queue, of_store, recoveries
from processes import actors

from stn_cluster.cluster.job import Job
from stn_cluster.cluster.messages import utc_now
from stn_cluster.cluster.queue import FILE
from stn_cluster.cluster.service import find, start
from stn_cluster.grid import Cell
from stn_cluster.store import Store

POLL_SECONDS = 0.05
STALL_SECONDS = 300.0  # without a new result, and the run is given up
STOP_SECONDS = 120.0
SETTLE_SECONDS = 30.0  # in which Ray takes back what stopped actors held
SAMPLE = 20  # cells that are compared with an undisturbed run
MUST_BE_ZERO = (
    *("lost", "unexpected", "duplicates", "incomplete", "disputed", "different"),
    *("driver_failures", "kills_missing"),
)


class Kind(StrEnum):
    """What is killed."""

    WORKER = "worker"
    COORDINATOR = "coordinator"
    DRIVER = "driver"


@dataclass(frozen=True)
class Kill:
    """One that hit a living process."""

    kind: Kind
    time: float  # seconds since 1970
    stage: str | None  # how far a driver was


class StalledError(Exception):
    """Nothing has come of the job for a long time."""


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
        """Sees to it that there is one."""
        if self._process is not None and (code := self._process.poll()) is not None:
            self.ended = code == 0
            self.failures += code not in (0, -signal.SIGKILL)
            self._process = None
        if self._process is None and not self.ended:
            with self._stages.open("wb") as stages, self._errors.open("ab") as errors:
                self._process = subprocess.Popen(self._command, stdout=stages, stderr=errors)

    def stage(self) -> str:
        """How far the present one is."""
        said = [word for word in self._stages.read_text().split() if word in STAGES]
        return said[-1] if said else "loading"

    def pids(self) -> list[int]:
        """Of the present one."""
        alive = self._process is not None and self._process.poll() is None
        return [self._process.pid] if self._process and alive else []

    def close(self) -> None:
        """Ends the present one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Chaos:
    """A job, and what is done to it.

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
        """Kills each kind so many times, spread over the job, and waits for the job's end.

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
        """Kills one of a kind; whether there was one."""
        driver = kind is Kind.DRIVER
        pids = self._drivers.pids() if driver else actors(kind.capitalize())
        if not pids:
            return False
        stage = self._drivers.stage() if driver else None
        pid = self._random.choice(sorted(pids))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills.append(Kill(kind, time.time(), stage))
        what = f"{kind} {pid}{f', {stage}' if stage else ''}"
        print(f"{utc_now():%H:%M:%S}: {what}, after {self._accepted}", file=sys.stderr, flush=True)
        return True

    def _look(self) -> int:
        """Sees to the driver; how many results the queue has."""
        self._drivers.keep()
        accepted = self._count()
        now = time.monotonic()
        if accepted > self._accepted:
            self._accepted, self._progress = accepted, now
        elif now - self._progress > STALL_SECONDS:
            raise StalledError(f"no result for {STALL_SECONDS:g} s, after {accepted}")
        return accepted

    def _count(self) -> int:
        """From the queue's own file: it needs no coordinator."""
        try:
            db = sqlite3.connect(f"file:{self._queue}?mode=ro", uri=True)
            try:
                rows = db.execute("SELECT count(*) FROM cells WHERE state = 'succeeded'")
                return int(rows.fetchone()[0])
            finally:
                db.close()
        except sqlite3.OperationalError:  # it is not there yet, or just being opened
            return self._accepted


@contextmanager
def _ray(workers: int) -> Iterator[str]:
    """A Ray of this process's own; yields its address."""
    ray.init(
        address="local",  # never one that the environment names
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=256 * 2**20,
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _resources() -> dict[str, dict[str, float]]:
    """All of Ray's, and those that nobody holds: once they are equal, or after a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        total, available = ray.cluster_resources(), ray.available_resources()
        if total == available or time.monotonic() > deadline:
            return {"total": total, "available": available}
        time.sleep(POLL_SECONDS)


def _undisturbed(folder: Path, workers: int, cells: list[Cell]) -> Store:
    """The store of a service that trains some cells in peace."""
    settings = make_settings(folder, workers)
    client = start(settings)
    client.submit(Job("undisturbed", tuple(cells)))
    for _ in client.watch("undisturbed"):
        pass
    client.stop(STOP_SECONDS)
    return Store.open(settings.store)


def _run(folder: Path, cells: int, kills: int, seed: int, workers: int) -> dict[str, Any]:
    """The whole run; its figures."""
    began = time.monotonic()
    chance = random.Random(seed)
    job = make_cells(cells)
    settings = make_settings(folder, workers)
    figures: dict[str, Any] = {"seed": seed, "cells": cells, "workers": workers, "stalled": None}
    with ExitStack() as stack:
        address = stack.enter_context(_ray(workers))
        options = {"address": address, "folder": folder, "cells": cells, "workers": workers}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        drivers = Drivers(arguments, folder)
        stack.callback(drivers.close)
        chaos = Chaos(folder, cells, drivers, chance)
        try:
            chaos.run(kills)
        except StalledError as error:
            figures["stalled"] = str(error)
        figures["seconds"] = round(time.monotonic() - began, 1)
        find(settings.store).stop(STOP_SECONDS)
        figures["resources"] = _resources()
        sample = chance.sample(job, min(SAMPLE, cells))
        undisturbed = _undisturbed(folder / "undisturbed", workers, sample)
    store = Store.open(settings.store)
    by_kind = {kind.value: [k for k in chaos.kills if k.kind is kind] for kind in Kind}
    return {
        **figures,
        "kills": {kind: len(found) for kind, found in by_kind.items()},
        "kills_missing": sum(kills - len(found) for found in by_kind.values()),
        "driver_stages": Counter(kill.stage for kill in by_kind[Kind.DRIVER]),
        "driver_failures": drivers.failures,
        **of_store(store, job),
        **of_queue(folder / "state", store),
        "compared": len(sample),
        "different": differences(store, undisturbed),
        "seconds_to_next_result": {
            kind: recoveries(store, [kill.time for kill in found])
            for kind, found in by_kind.items()
        },
    }


def main(
    cells: Annotated[int, typer.Option(min=1)] = 2000,
    kills: Annotated[int, typer.Option(min=0, help="Of each kind.")] = 34,
    seed: Annotated[int | None, typer.Option(help="Default: a new one.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    folder: Annotated[
        Path | None, typer.Option(help="Of store and state; default: a temporary one.")
    ] = None,
) -> None:
    """Kills workers, coordinator and drivers of a job at random, and counts what came of it."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    print(f"seed {seed}", flush=True)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        figures = _run(folder.resolve(), cells, kills, seed, workers)
    print(json.dumps(figures), flush=True)
    resources = figures["resources"]
    wrong = [name for name in MUST_BE_ZERO if figures[name]]
    if wrong or figures["stalled"] or resources["total"] != resources["available"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
