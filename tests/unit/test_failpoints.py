"""Failpoints: a process dies once, at the named point and nowhere else."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.records import TEST_SET, make_evaluation_row, make_record

import stn_cluster
from stn_cluster.failpoints import VARIABLE, Failpoint
from stn_cluster.store import Store

PACKAGE = Path(stn_cluster.__file__).parent

_REACH = """
import sys
from stn_cluster.failpoints import failpoint
try:
    for point in sys.argv[1:]:
        failpoint(point)
        print(point, flush=True)
finally:
    print("the end", flush=True)
"""


def come_by(*points: str, armed: str | None = None) -> tuple[list[str], int]:
    """A process that comes by these points: those that it left behind it, and how it ended."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", _REACH, *points],
        env=environment | ({VARIABLE: armed} if armed is not None else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout.splitlines(), done.returncode


@pytest.mark.parametrize("armed", [None, ""])
def test_a_process_that_nobody_armed_comes_by_every_point_unharmed(armed: str | None) -> None:
    points = [point.value for point in Failpoint]
    assert come_by(*points, armed=armed) == ([*points, "the end"], 0)


def test_an_armed_process_dies_there_without_a_last_word_and_its_successor_does_not(
    tmp_path: Path,
) -> None:
    marker = tmp_path / "marker"
    points = ("claim-written", "cells-written", "state-dropped")
    armed = f"cells-written:{marker}"
    assert come_by(*points, armed=armed) == (["claim-written"], -signal.SIGKILL)
    assert marker.exists()
    assert come_by(*points, armed=armed) == ([*points, "the end"], 0)


def test_a_process_dies_the_time_that_is_named_and_lives_where_it_comes_less_often(
    tmp_path: Path,
) -> None:
    marker = tmp_path / "marker"
    points = ["cells-written", "claim-written"] * 4
    armed = f"cells-written:3:{marker}"
    assert come_by(*points[:4], armed=armed) == ([*points[:4], "the end"], 0)
    assert not marker.exists()
    assert come_by(*points, armed=armed) == (points[:4], -signal.SIGKILL)
    assert marker.exists()


def test_each_of_several_faults_kills_one_process(tmp_path: Path) -> None:
    points = ("claim-written", "cells-written")
    armed = ",".join(f"{point}:{tmp_path / point}" for point in points)
    assert come_by(*points, armed=armed) == ([], -signal.SIGKILL)
    assert come_by(*points, armed=armed) == (["claim-written"], -signal.SIGKILL)
    assert come_by(*points, armed=armed) == ([*points, "the end"], 0)


def test_a_point_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(AssertionError, match="'cells-writen' is not a valid Failpoint"):
        come_by(armed="cells-writen:/tmp/marker")


# --- every point is somewhere ---


def named_points() -> Iterator[str]:
    """Points that the source names: in `failpoint("...")`, and around `transaction(db, "...")`."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            texts = [x.value for x in node.args if isinstance(x, ast.Constant)]
            if node.func.id == "failpoint":
                yield from texts
            if node.func.id == "transaction":
                yield from (f"{text}-{when}" for text in texts for when in ("written", "committed"))


def stored_points(store: Store, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The points that a store comes by when it writes a result, a checkpoint and a job's record."""
    reached: set[str] = set()
    for module in ("files", "commits"):
        monkeypatch.setattr(f"stn_cluster.store.{module}.failpoint", reached.add)
    store.commit([make_record()], [TEST_SET])
    store.commit_evaluations([make_evaluation_row()])
    store.checkpoints.write("k", "a", "state.pt", b"state")
    store.write_job("j", {"cells": []})
    return reached


def test_every_point_is_reached_and_every_point_that_is_reached_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, stored = set(named_points()), stored_points(store, monkeypatch)
    assert named.isdisjoint(stored)
    assert named | stored == {point.value for point in Failpoint}
