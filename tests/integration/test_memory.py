"""Memory that is short: Ray's memory monitor takes the workers, and the coordinator goes on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.commands import stn_cluster
from support.services import PLUGINS

from stn_cluster import load_results

CONFIG = """
plugins: [breaking_plugin]
models: [Swells, FCN, CNN]
distortions: [E]
recipe: smoke
"""


def threshold(room: float) -> dict[str, str]:
    """Environment in which Ray finds memory short once `room` more bytes are used."""
    fields = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text()))
    total, left = int(fields["MemTotal"]) * 1024, int(fields["MemAvailable"]) * 1024
    if left < 2 * room:
        pytest.skip("memory is short here")
    share = (total - left + room) / total
    return {"RAY_memory_usage_threshold": str(share), "RAY_memory_monitor_refresh_ms": "100"}


@pytest.mark.chaos
def test_a_cell_that_takes_all_memory_is_failed_and_the_coordinator_outlives_it(
    tmp_path: Path,
) -> None:
    shutil.copy(PLUGINS / "breaking_plugin.py", tmp_path)
    (tmp_path / "grid.yaml").write_text(CONFIG)
    run = ["run", "grid.yaml", "--store", "s", "--workers", "1"]
    done = stn_cluster(*run, folder=tmp_path, **threshold(3.5e9))
    assert done.returncode == 1, done.stderr
    rows = load_results(tmp_path / "s").set_index("model")
    assert rows["status"].to_dict() == {"FCN": "succeeded", "CNN": "succeeded", "Swells": "failed"}
    error = rows.at["Swells", "error"]
    assert error.count("died: Ray's memory monitor killed it, as memory was short (") == 3
    assert not (tmp_path / "s" / "queue" / "crashes.json").exists()


@pytest.mark.chaos
def test_a_coordinator_for_which_there_is_no_memory_ends_the_service_with_a_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "grid.yaml").write_text("models: [FCN]\ndistortions: [E]\nrecipe: smoke\n")
    none = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = stn_cluster("run", "grid.yaml", "--store", "s", folder=tmp_path, **none)
    assert done.returncode == 2
    assert "memory" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
