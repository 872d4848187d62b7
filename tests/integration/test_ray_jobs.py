"""`jobs/run_grid.py` as a Ray job that is stopped half way and submitted again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from support.processes import actors
from support.ray_head import BIN, Head, ray_head

from stn_cluster.store import Store

PROJECT = Path(__file__).parents[2]
PATIENCE = 150.0  # seconds
# Four packs of four cells, for two workers: when the first end, others are still to come.
GRID = ["configs/smoke.yaml", "--set", "models=[FCN, ST-FCN]", "--set", "recipe.iterations=800"]
CELLS = 16


def ray_job(head: Head, *arguments: str) -> str:
    """Output of `ray job ...`."""
    done = subprocess.run(
        [str(BIN / "ray"), "job", *arguments],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=PATIENCE,
        env=os.environ
        | head.environment
        | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{head.dashboard}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submit(head: Head, store: Path, *options: str) -> str:
    script = ("--", "python", "jobs/run_grid.py", *GRID, "--store", str(store))
    return ray_job(head, "submit", "--working-dir", ".", *options, *script)


@pytest.mark.chaos  # it takes minutes: what stops it needs seconds, and must find it half way
@pytest.mark.timeout(400)
def test_a_stopped_job_leaves_a_queue_that_resumes(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with ray_head(cpus=2, jobs=True) as head:
        submit(head, store, "--no-wait", "--submission-id=first")
        deadline = time.monotonic() + PATIENCE
        while not store.exists() or not 0 < len(Store.open(store).results()) < CELLS:
            assert time.monotonic() < deadline, ray_job(head, "logs", "first")
            time.sleep(0.1)
        ray_job(head, "stop", "first")
        while actors("Coordinator"):  # it ends by itself, once what runs is checkpointed
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stopped = Store.open(store).results(latest=False)
        assert len(stopped) < CELLS

        said = submit(head, store)
        assert "ST-FCN" in said
        travelled = {path.name for path in Path(head.folder).rglob("_ray_pkg_*/*")}
    ended = Store.open(store).results(latest=False)
    assert list(ended["status"]) == ["succeeded"] * CELLS
    assert ended["key"].is_unique
    assert set(stopped["attempt"]) <= set(ended["attempt"])
    assert {"stn_cluster", "jobs", "configs"} <= travelled
    assert not {".git", ".venv", "data", "results", "tests", "docker"} & travelled


def test_a_relative_store_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "python"), "jobs/run_grid.py", "configs/smoke.yaml", "--store", "results/x"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "run_grid: --store results/x: give a full path or a URI: a Ray job runs elsewhere\n"
    )
