"""docker/head.sh with a real Ray, which requires its token, and the real service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ray_head import free_ports

ROOT = Path(__file__).parents[2]
SECONDS = 90


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a Unix socket may have 107 characters: Ray's are deep in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="head"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_service_is_stopped_while_ray_is_still_there(short_folder: Path) -> None:
    port, http = free_ports(2)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "only for this test",
        "RAY_ADDRESS": f"127.0.0.1:{port}",
    }
    start_ray = (
        f"ray start --head --port={port} --num-cpus=0 --object-store-memory=100000000 "
        f"--include-dashboard=false --disable-usage-stats --temp-dir={short_folder}/ray --block"
    )
    places = f"--store={short_folder}/store --state={short_folder}/state"
    serve = f"stn-cluster serve {places} --port={http}"
    with (short_folder / "log").open("w") as log:
        head = subprocess.Popen(
            [ROOT / "docker" / "head.sh", start_ray, serve],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while '"serving"' not in (short_folder / "log").read_text():
            assert head.poll() is None, (short_folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        head.terminate()
        assert head.wait(SECONDS) == 0, (short_folder / "log").read_text()
        assert '"stopped"' in (short_folder / "log").read_text()
    finally:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGTERM)  # of this test alone; Ray ends what it started
            head.wait(SECONDS)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{short_folder}/ray" not in left.stdout
