"""A prune is killed at every boundary between two writes: no row is lost, and the next finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.grown_stores import GrownStore
from support.queues import QueueUnderTest, cells

from stn_cluster import load_results
from stn_cluster.failpoints import VARIABLE
from stn_cluster.queue.jobs import CellState
from stn_cluster.store.removal import OF_ATTEMPTS

_PRUNE = """
import sys
from stn_cluster.cluster.pruning import Choice, prune
from stn_cluster.cluster.settings import make_settings
prune(make_settings(sys.argv[1]), Choice(jobs=tuple(sys.argv[2:]), superseded=len(sys.argv) == 2))
"""
# In the order in which they are passed, the same one several times.
OF_JOBS = ["prune-removed:4", "prune-removed:6", "prune-written", "prune-committed"]
OF_ROWS = [
    *("prune-removed:3", "prune-committed", "curves-drafted", "prune-replaced"),
    *("predictions-drafted", "prune-replaced", "cells-drafted", "prune-replaced", "prune-shrunk"),
]


def prune(grown: GrownStore, *jobs: str, point: str | None = None, marker: Path) -> int:
    """Prunes in a process of its own, which dies at a point; returns its exit code."""
    environment = dict(os.environ) | ({VARIABLE: f"{point}:{marker}"} if point else {})
    command = [sys.executable, "-c", _PRUNE, str(grown.folder), *jobs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def rows(grown: GrownStore) -> dict[str, list[str]]:
    """Attempts of the rows of each kind."""
    return {kind: grown.attempts(kind) for kind in OF_ATTEMPTS}


def state(grown: GrownStore) -> tuple[object, ...]:
    """All that a prune may change."""
    queue = QueueUnderTest(grown.state)
    history = [tuple(row) for row in queue.db.execute("SELECT attempt FROM attempts ORDER BY 1")]
    pruned = [tuple(row) for row in queue.db.execute("SELECT job_id FROM pruned")]
    free = queue.db.execute("PRAGMA freelist_count").fetchone()[0]
    queue.close()
    records = sorted(path.name for path in grown.folder.glob("jobs/*"))
    return rows(grown), grown.logs(), grown.checkpoints(), history, pruned, free, records


@pytest.fixture
def grown(tmp_path: Path) -> GrownStore:
    found = GrownStore(tmp_path / "store")
    found.train("a", cells(3), evaluated=True)
    found.train("b", cells(2), force=True, evaluated=True)
    found.train("c", cells(2, first=2))
    found.train("d", cells(1, first=9), unfinished=1)
    for _ in found.store.compact(whole=True):  # rows that go, and rows that stay, in one file
        pass
    return found


def test_jobs(grown: GrownStore, tmp_path: Path) -> None:
    undisturbed = grown.copy(tmp_path / "copy")
    undisturbed.prune("a", "b")
    before, results = rows(grown), load_results(grown.folder)
    for number, point in enumerate(OF_JOBS):
        marker = tmp_path / f"marker-{number}"
        assert prune(grown, "a", "b", point=point, marker=marker) == -signal.SIGKILL, point
        assert rows(grown) == before
        assert load_results(grown.folder).equals(results)
        queue = QueueUnderTest(grown.state)
        assert queue.states("c") == [CellState.SUCCEEDED] * 2
        assert queue.states("d") == [CellState.RUNNING]
        queue.close()
    assert prune(grown, "a", "b", marker=tmp_path / "none") == 0
    assert state(grown) == state(undisturbed)


def test_rows(grown: GrownStore, tmp_path: Path) -> None:
    undisturbed = grown.copy(tmp_path / "copy")
    undisturbed.prune(superseded=True)
    kept, results = rows(undisturbed), load_results(grown.folder)
    before = rows(grown)
    for number, point in enumerate(OF_ROWS):
        marker = tmp_path / f"marker-{number}"
        assert prune(grown, point=point, marker=marker) == -signal.SIGKILL, point
        now = rows(grown)
        for kind in OF_ATTEMPTS:  # each row once
            assert now[kind] in (before[kind], kept[kind])
        assert load_results(grown.folder).equals(results)
    assert prune(grown, marker=tmp_path / "none") == 0
    assert state(grown) == state(undisturbed)
