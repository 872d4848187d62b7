"""Cells that hang while their workers' hearts beat: told, ended, charged, and in nobody's way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import hanging_plugin
import pytest
from support.commands import COMMAND, stn_cluster
from support.failures import counts, exit_reason
from support.services import PLUGINS

from stn_cluster import load_results
from stn_cluster.cluster.signals import STOPPING
from stn_cluster.queue.attempts import Attempt
from stn_cluster.queue.database import connect_reader
from stn_cluster.queue.queries import attempts
from stn_cluster.store import Store

CONFIG = """
plugins: [hanging_plugin]
models: [Hangs, FCN]
distortions: [R]
recipe: {name: smoke, iterations: 40}
"""


def folder_of(tmp_path: Path) -> Path:
    shutil.copy(PLUGINS / "hanging_plugin.py", tmp_path)
    (tmp_path / "grid.yaml").write_text(CONFIG)
    return tmp_path


def hanging(folder: Path, place: str) -> dict[str, str]:
    """Environment in which a place of the plug-in hangs."""
    return {hanging_plugin.VARIABLE: f"{place}:{folder / 'hangs'}"}


def history(store: Path, key: str) -> list[Attempt]:
    with closing(connect_reader(store / "queue")) as queue:
        return attempts(queue, key)


def test_a_cell_that_hangs_is_told_of_ended_and_failed_and_its_mate_ends_well(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path)
    options = ["--workers", "1", "--set", "no_progress_seconds=4"]
    where = hanging(folder, "training")
    done = stn_cluster("run", "grid.yaml", "--store", "s", *options, folder=folder, **where)
    assert done.returncode == 1, done.stderr
    told = r"no progress since \d\d:\d\d:\d\d UTC: Hangs/none/R/seed0: it takes step 3, on "
    assert len(re.findall(told, done.stderr)) == 3  # once an attempt, however long it lasts
    assert "its worker is ended after 4 s without any" in done.stderr
    rows = load_results(folder / "s").set_index("model")
    assert rows["status"].to_dict() == {"FCN": "succeeded", "Hangs": "failed"}
    error = rows.at["Hangs", "error"]
    assert error.count("hung: no progress for 4 s while it takes step 3") == 3
    hung = history(folder / "s", rows.at["Hangs", "key"])
    assert [exit_reason(attempt) for attempt in hung] == ["hung"] * 3
    assert hung[0].pack_size == 2
    mate = history(folder / "s", rows.at["FCN", "key"])
    assert not any(counts(attempt) for attempt in mate)
    log = Store.open(folder / "s").logs.read(hung[0].cell.key, hung[0].id)
    assert "it takes step 3; the code that runs:" in str(log)
    assert "in hang" in str(log)
    assert "threading.Event().wait()" in str(log)


class Run:
    """A run in which a cell hangs."""

    def __init__(self, folder: Path, place: str, command: list[str | Path]) -> None:
        self.folder = folder_of(folder)
        self.errors = folder / "errors.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stderr=errors,
                stdout=subprocess.DEVNULL,
                env=os.environ | hanging(folder, place),
            )
        deadline = time.monotonic() + 120
        while not (folder / "hangs").exists():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def until_told(self, seconds: float = 20) -> None:
        """Waits until it says that it stops."""
        deadline = time.monotonic() + seconds
        while STOPPING not in self.errors.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end(self, seconds: float) -> int:
        """Waits for its end; returns the exit code."""
        return self.process.wait(seconds)


RUN: list[str | Path] = [COMMAND, "run", "grid.yaml", "--store", "s", "--workers", "1"]
SCRIPT: list[str | Path] = [
    sys.executable,
    "-c",
    "from stn_cluster import run_grid; run_grid('grid.yaml', 's', workers=1)",
]


@pytest.mark.parametrize(
    "sign",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.chaos),
        pytest.param(signal.SIGHUP, marks=pytest.mark.chaos),
    ],
)
def test_an_interrupt_beside_a_cell_that_hangs_is_answered_and_ends_within_seconds(
    tmp_path: Path, sign: signal.Signals
) -> None:
    run = Run(tmp_path, "training", RUN)  # a place that the preflight does not come to
    run.process.send_signal(sign)
    run.until_told()
    assert run.end(30) == 130
    # Where a worker takes long to start, it was told that cells wait for one.
    told = [line for line in run.errors.read_text().splitlines() if " wait for a node" not in line]
    assert len(told) == 3  # the job, that it stops, how to go on
    assert "run the same command again to resume" in told[-1]


@pytest.mark.parametrize(
    "command", [RUN, pytest.param(SCRIPT, marks=pytest.mark.chaos)], ids=["command", "script"]
)
def test_three_interrupts_within_a_second_end_at_once_without_a_traceback(
    tmp_path: Path, command: list[str | Path]
) -> None:
    run = Run(tmp_path, "training", command)
    for _ in range(3):
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert run.end(10) == 130
    assert "Traceback" not in run.errors.read_text()


# --- what this machine can never give ---


def test_a_worker_may_have_both_cores_and_none_may_have_more_than_there_are(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path)
    one = ["--workers", "1", "--set", "models=[FCN]"]
    run = ["run", "grid.yaml", "--store", "s", *one]
    done = stn_cluster(*run, "--threads-per-worker", "2", folder=folder)
    assert done.returncode == 0, done.stderr
    assert load_results(folder / "s")["device"].str.endswith(", 2 threads").all()
    done = stn_cluster(*run, "--force", "--threads-per-worker", "4000", folder=folder)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    told = "stn-cluster: a worker takes 4000 CPU (--threads-per-worker), and this machine has "
    assert line.startswith(told)
