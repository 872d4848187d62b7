"""Helpers for tests of a failing service, in addition to `services`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.jobs import CellState, JobStatus, Page
from support.services import wait_until

PATIENCE = 180.0  # seconds: on a busy machine a worker takes half a minute to start
RESULT = ["key", "test_error", "train_loss", "n_wrong", "iterations", "parameters"]


def the_end(client: CoordinatorClient, job_id: str) -> JobStatus:
    """Waits until a job has ended; returns its status with its cells."""
    seen: list[JobStatus] = []

    def ended() -> bool:
        seen[:] = [client.status(job_id)]
        return seen[0].ended

    try:
        wait_until(ended, PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{job_id} does not end: {seen[0]}") from error
    return next(iter(client.watch(job_id)))


def running(client: CoordinatorClient, job_id: str, step: int = 0) -> list[Attempt]:
    """Running attempts of a job's cells that have done at least `step` steps."""
    cells = client.cells(job_id, Page(states=(CellState.RUNNING,)))
    return [client.attempts(cell.cell.key)[-1] for cell in cells if cell.step >= step]


def exit_reasons(client: CoordinatorClient, name: str) -> list[str | None]:
    """Exit reasons of a cell's attempts, oldest first."""
    return [exit_reason(attempt) for attempt in client.attempts(name)]


def exit_reason(attempt: Attempt) -> str | None:
    """Exit reason of an attempt, or None while it runs."""
    return attempt.end.reason if attempt.end else None


def counts(attempt: Attempt) -> bool:
    """Whether an attempt's end counts as a failure of its cell."""
    return attempt.end is not None and attempt.end.counts


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def rows(store: Path, key: str | None = None) -> pd.DataFrame:
    """All rows of the store's `cells`, or those of one key."""
    found = pd.read_parquet(store / "cells")
    return found if key is None else found[found["key"] == key]


def parts(store: Path, attempt: str) -> dict[str, object]:
    """The parts of an attempt's result that must not depend on interruptions."""
    [row] = rows(store).query("attempt == @attempt")[RESULT].to_dict("records")
    curve = pd.read_parquet(store / "curves").query("attempt == @attempt").sort_values("step")
    [predicted] = pd.read_parquet(store / "predictions").query("attempt == @attempt")["predictions"]
    return {
        **row,
        "curve": curve[["step", "train_loss", "lr"]].to_numpy().tolist(),
        "predictions": list(predicted),
    }


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and time of change of all files below a folder."""
    return dict(_contents(folder))


def _contents(folder: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield str(path.relative_to(folder)), (digest, path.stat().st_mtime_ns)
        except FileNotFoundError:  # removed meanwhile
            pass
