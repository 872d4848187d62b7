"""A service on the test's private Ray, with the real coordinator and real workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from stn_cluster.cluster.connect import start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.make_evaluations import evaluations_of
from stn_cluster.cluster.settings import Settings
from stn_cluster.config_file import parse_config
from stn_cluster.evaluate_config import Evaluate
from stn_cluster.grid import Cell
from stn_cluster.queue.jobs import Job
from stn_cluster.registry import resolve
from support.own_ray import own_ray
from support.processes import actors

PLUGINS = Path(__file__).parent / "plugins"  # modules that jobs of the tests may use


def one_node(cpus: int = 2, **environment: str) -> AbstractContextManager[str]:
    """Runs Ray on this machine within the block, with `cpus` cores."""
    modules = [PLUGINS / "breaking_plugin.py", Path(__file__).parent]
    return own_ray(cpus, modules, **environment)


def serve(folder: Path, **settings: Any) -> CoordinatorClient:
    """A service with its store and state below a folder; `settings` are those of `Settings`."""
    given = {"workers": 2, "heartbeat_seconds": 0.2, "checkpoint_seconds": 0.2, **settings}
    return start(Settings(store=str(folder / "store"), state=str(folder / "state"), **given))


def make_cells(**config: Any) -> tuple[Cell, ...]:
    """Cells of a config, by default with the recipe `smoke`."""
    return tuple(resolve(parse_config({"recipe": "smoke", **config}), folder=PLUGINS))


def make_job(job_id: str, *, force: bool = False, priority: int = 0, **config: Any) -> Job:
    """A job of these cells, and of the evaluations that the config says."""
    wanted = config.pop("evaluate", None)
    cells = make_cells(**config)
    evaluations = evaluations_of(cells, Evaluate(**wanted)) if wanted else ()
    return Job(job_id, cells, force=force, priority=priority, evaluations=evaluations)


def wait_until(true: Callable[[], object], seconds: float = 60.0, every: float = 0.05) -> None:
    """Waits until a condition is true; fails after a timeout."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {true.__qualname__}"
        time.sleep(every)


def processes(kind: str) -> list[int]:
    """Process ids of the actors that this process has started: 'Coordinator' or 'Worker'."""
    return list(actors(kind))


def kill(pid: int, sign: signal.Signals = signal.SIGKILL) -> None:
    """Signals a process, if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, sign)
