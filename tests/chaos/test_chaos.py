"""The chaos run, small: `make chaos` has the large one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "jobs/benchmarks/chaos.py"
SECONDS = 900  # on a busy machine


@pytest.mark.chaos
@pytest.mark.timeout(SECONDS + 10)
def test_no_result_is_lost_or_doubled_while_processes_are_killed(tmp_path: Path) -> None:
    options = ["--cells=60", "--kills=1", "--seed=7", f"--folder={tmp_path}"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    first, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert first == "seed 7"
    assert figures["kills"] == {"worker": 1, "coordinator": 1, "driver": 1}
    assert figures["attempts"]["succeeded"] == 60
    assert (figures["lost"], figures["unexpected"], figures["duplicates"]) == (0, 0, 0)
    assert figures["compared"] == 20
    assert figures["different"] == 0
    assert figures["resources"]["total"] == figures["resources"]["available"]
