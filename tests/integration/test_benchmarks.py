"""The benchmarks at their smallest: they run, and say what they promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "jobs/benchmarks"


@pytest.mark.chaos  # a minute, and of no use to who changes no benchmark
def test_overhead_measures_cells_trials_submission_and_restart() -> None:
    options = ["--cells=32", "--trials=20", "--rounds=1", "--queued=200", "--restart-queued=50"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "overhead.py"), *options],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    [line] = done.stdout.splitlines()
    found = json.loads(line)
    assert found["sizes"] == {"cells": 32, "trials": 20, "rounds": 1, "workers": 2}
    noop = found["noop"]
    kinds = ("grid", "alone", "tune_reuse_actors", "tune_functions")
    assert all(
        noop[kind][figure]["median"] > 0 for kind in kinds for figure in ("wall_ms", "cpu_ms")
    )
    assert noop["tune_over_ours"].keys() == {"grid", "alone"}
    assert (found["queued"]["cells"], found["restart"]["cells"]) == (200, 50)
    assert found["queued"]["waiting"] == ["200 cells wait for a node with 1 CPU, 1 absent"]
    assert found["restart"]["serving_again_seconds"] > 0
