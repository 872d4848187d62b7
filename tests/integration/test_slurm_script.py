"""docker/slurm/grid.sbatch with stand-ins for Slurm: stopped in the middle, queued again, resumed.

Ray's own symmetric-run starts a real Ray, and the grid is really trained; only its `ray stop`,
which ends every Ray of the user, is replaced by one that ends its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.ray_head import free_ports
from support.services import wait_until

from stn_cluster import load_results
from stn_cluster.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker" / "slurm" / "grid.sbatch"
BIN = Path(sys.executable).parent
SECONDS = 120
CELLS = ["--set", "models=[FCN, CNN]", "--set", "distortions=[R]"]
SRUN = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
SCONTROL = '#!/bin/sh\necho "$@" >> "$FOLDER/scontrol"\n'
PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
RAY = f"""#!{sys.executable}
import os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
if words[0] == "symmetric-run":
    from ray.scripts import symmetric_run
    symmetric_run.check_ray_already_started = lambda: False  # others run on this machine
    sys.argv = ["ray", *words[1:]]
    symmetric_run.symmetric_run()
elif words[0] == "start":
    ports = os.environ["PORTS"].split()
    more = [f"--dashboard-agent-listen-port={{ports[0]}}", f"--ray-client-server-port={{ports[1]}}"]
    more += ["--num-cpus=2", f"--object-store-memory={{2**28}}"]
    os.execv({str(BIN / "ray")!r}, ["ray", *words, *more])
else:
    assert words == ["stop"]
    mine = os.environ["STN_LOCAL"].encode() + b"/stn-"
    def left():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if mine in command and b"/session_" in command:
                yield int(process.name)
    while found := list(left()):
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.1)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Ray's sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    (folder / "bin").mkdir()
    programs = {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "python": PYTHON}
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def submit(folder: Path, node: str, *options: str) -> subprocess.Popen[str]:
    """Runs the script as Slurm would on a node, whose own disk is a folder."""
    (folder / node).mkdir()
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "FOLDER": str(folder),
        "PORTS": " ".join(map(str, free_ports(2))),
        "SLURM_JOB_ID": str(free_ports(1)[0]),
        "SLURM_JOB_NUM_NODES": "1",
        "STN_PROJECT": str(folder / "project"),
        "STN_LOCAL": str(folder / node),
        "STN_HEAD": "127.0.0.1",
        "STN_SAVE_SECONDS": "1",
    }
    (folder / "project").mkdir(exist_ok=True)
    with_jobs = folder / "project" / "jobs"
    if not with_jobs.exists():
        with_jobs.symlink_to(ROOT / "jobs")
    config = ROOT / "configs" / "smoke.yaml"
    return subprocess.Popen(
        [SCRIPT, config, folder / "store", *CELLS, "--checkpoint-steps", "20", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.chaos
def test_a_job_that_is_told_to_stop_is_queued_again_and_resumes(folder: Path) -> None:
    steps = ("--set", "recipe.iterations=2000")
    store = folder / "store"
    job = submit(folder, "node-1", *steps)
    try:
        wait_until(
            lambda: job.poll() is not None or any(store.glob("checkpoints/*/*/state*")), SECONDS
        )
        job.send_signal(signal.SIGTERM)
        said, _ = job.communicate(timeout=SECONDS)
        assert job.returncode == 0, said
        assert "told to stop: what runs is checkpointed" in said
        assert (folder / "scontrol").read_text().startswith("requeue ")
        assert list((folder / "node-1").iterdir()) == []
        with closing(sqlite3.connect(f"{store}.queue.sqlite")) as queue:
            states = {state for [state] in queue.execute("SELECT state FROM cells")}
        assert "queued" in states
        job = submit(folder, "node-2", *steps)
        said, _ = job.communicate(timeout=SECONDS)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 0, said
    assert "Test error in percent" in said
    assert len((folder / "scontrol").read_text().splitlines()) == 1
    results = load_results(store)
    assert sorted(results["status"]) == ["succeeded"] * 2
    opened = Store.open(store)
    logs = [opened.logs.read(row["key"], row["attempt"]) for row in results.to_dict("records")]
    assert any("resumes from step" in (log or "") for log in logs)
    assert len(list(store.glob("jobs/*.json"))) == 1


def test_without_a_place_for_its_queues_copy_it_does_not_begin(folder: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "configs/smoke.yaml", "s3://bucket/store"],
        env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "SLURM_JOB_ID": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "set STN_SAVED to a file on the shared disk" in done.stderr


def test_its_syntax_is_bashs() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
