"""Chaos: a job of many short cells while its workers, coordinator and driver are killed at random.

Says its seed first and prints its figures last, as one line of JSON; exit code 1 if one is wrong.
The seed fixes what is killed after how many results; when that is, and whom it hits, is the
machine's.
"""

from __future__ import annotations

import json
import random
import secrets
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import harness  # noqa: F401
import ray
import typer
from chaos_driver import make_cells, make_settings
from chaos_figures import differences, of_queue, of_store, recoveries
from chaos_kills import Chaos, Drivers, Kind, StalledError
from ray.exceptions import RayError
from support.own_ray import own_ray

from stn_cluster.cluster.connect import find, start
from stn_cluster.errors import UserError
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import Job
from stn_cluster.store import Store

STOP_SECONDS = 120.0
SETTLE_SECONDS = 30.0  # in which Ray takes back what stopped actors held
SAMPLE = 20  # cells that are compared with an undisturbed run
MUST_BE_ZERO = (
    *("lost", "unexpected", "duplicates", "incomplete", "leftovers", "disputed", "different"),
    *("driver_failures", "kills_missing"),
)


def _resources() -> dict[str, dict[str, float]]:
    """Ray's total and free resources, once they are equal or after a timeout."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        total, available = ray.cluster_resources(), ray.available_resources()
        if total == available or time.monotonic() > deadline:
            return {"total": total, "available": available}
        time.sleep(0.1)


def _undisturbed(folder: Path, workers: int, cells: list[Cell]) -> Store:
    """Store of a service that trains some cells undisturbed."""
    settings = make_settings(folder, workers)
    client = start(settings)
    client.submit(Job("undisturbed", tuple(cells)))
    for _ in client.watch("undisturbed"):
        pass
    client.stop(STOP_SECONDS)
    return Store.open(settings.store)


def _run(folder: Path, cells: int, kills: int, seed: int, workers: int) -> dict[str, Any]:
    """Performs the whole run and returns its figures."""
    chance = random.Random(seed)
    job = make_cells(cells)
    settings = make_settings(folder, workers)
    figures: dict[str, Any] = {"seed": seed, "cells": cells, "workers": workers}
    with ExitStack() as stack:
        address = stack.enter_context(own_ray(workers))
        options = {"address": address, "folder": folder, "cells": cells, "workers": workers}
        drivers = Drivers([f"--{name}={value}" for name, value in options.items()], folder)
        stack.callback(drivers.close)
        chaos = Chaos(folder, cells, drivers, chance)
        began = time.monotonic()
        try:
            chaos.run(kills)
            figures["seconds"] = round(time.monotonic() - began, 1)
            find(settings.store).stop(STOP_SECONDS)
            figures["resources"] = _resources()
            sample = chance.sample(job, min(SAMPLE, cells))
            undisturbed = _undisturbed(folder / "undisturbed", workers, sample)
        except (StalledError, RayError, UserError) as error:
            return {**figures, "error": f"{type(error).__name__}: {error}"}
    store = Store.open(settings.store)
    by_kind = {kind.value: [k for k in chaos.kills if k.kind is kind] for kind in Kind}
    return {
        **figures,
        "kills": {kind: len(found) for kind, found in by_kind.items()},
        "kills_missing": sum(kills - len(found) for found in by_kind.values()),
        "killed_at": {kind: Counter(k.stage for k in found) for kind, found in by_kind.items()},
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


def _right(figures: dict[str, Any]) -> bool:
    if "error" in figures or any(figures[name] for name in MUST_BE_ZERO):
        return False
    return bool(figures["resources"]["total"] == figures["resources"]["available"])


def main(
    cells: Annotated[int, typer.Option(min=1)] = 2000,
    kills: Annotated[int, typer.Option(min=0, help="Of each kind.")] = 34,
    seed: Annotated[int | None, typer.Option(help="Default: a new one.")] = None,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    folder: Annotated[
        Path | None, typer.Option(help="Of store and state; default: a temporary one.")
    ] = None,
) -> None:
    """Kills workers, coordinator and drivers of a job at random, and checks the results."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    print(f"seed {seed}", flush=True)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        figures = _run(folder.resolve(), cells, kills, seed, workers)
    print(json.dumps(figures), flush=True)
    if not _right(figures):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
