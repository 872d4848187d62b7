"""A run leaves nothing of its Ray behind; what a killed one leaves goes with the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services import wait_until

LONG = ["--set", "recipe.iterations=100000", "--set", "models=[FCN]", "--set", "distortions=[R]"]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for temporary files with a short name, which Ray's sockets need."""
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as folder:
        yield Path(folder)


def begin(place: Path, store: Path) -> subprocess.Popen[str]:
    """A run that has begun to train."""
    before = attempts(store)
    command = ["run", str(REPOSITORY / "configs" / "smoke.yaml"), "--store", str(store), *LONG]
    run = subprocess.Popen(
        [sys.executable, "-m", "stn_cluster.cli", *command, "--checkpoint-steps", "20"],
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: run.poll() is not None or bool(attempts(store) - before), 120)
    assert run.poll() is None, run.stdout and run.stdout.read()
    return run


def attempts(store: Path) -> set[str]:
    """Attempts that have a checkpoint."""
    return {path.parent.name for path in store.glob("checkpoints/*/*/state*")}


def left(place: Path) -> list[str]:
    """What is in the place, but for the workers' output."""
    return sorted(path.name for path in place.iterdir() if "output" not in path.name)


def processes(place: Path) -> list[int]:
    """Processes that work below the place."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if place in (process / "cwd").readlink().parents:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def sessions(*runs: int) -> list[str]:
    """Sessions of the Rays of processes, where Ray has them by itself."""
    return [p.name for pid in runs for p in Path("/tmp/ray").glob(f"session_*_{pid}")]


def shared_memory() -> set[str]:
    """Files in memory."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def test_what_a_killed_run_leaves_goes_with_the_next_which_leaves_nothing(
    place: Path, tmp_path: Path
) -> None:
    shared = shared_memory()
    other = place / "stn-other"  # not marked: nobody knows whose it is
    other.mkdir()
    killed = begin(place, tmp_path / "store")
    killed.kill()
    killed.communicate()
    [abandoned] = [name for name in left(place) if name != other.name]
    again = begin(place, tmp_path / "store")
    assert abandoned not in left(place)
    assert len(left(place)) == 2
    again.send_signal(signal.SIGTERM)
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 130, said
    assert left(place) == [other.name]
    wait_until(lambda: not processes(place), 20)
    assert sessions(killed.pid, again.pid) == []
    assert not any(name.startswith("plasma") for name in shared_memory() - shared)
