"""docker/head.sh with a real Ray, which asks for its token, and the real coordinator."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 90
SERVE = """
import signal, sys, time, ray
from pathlib import Path
from stn_cluster.cluster.service import start
from stn_cluster.cluster.settings import Settings

folder = Path(sys.argv[1])
ray.init("auto", log_to_driver=False)
client = start(Settings(store=str(folder / "store"), state=str(folder / "state")))

def end(*_):
    time.sleep(1)
    client.stop(60)  # raises if the coordinator or Ray are gone by now
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
(folder / "serving").touch()
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a Unix socket may have 107 characters: Ray's are deep in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="head"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_service_is_stopped_while_ray_is_still_there(short_folder: Path) -> None:
    port = free_port()
    (short_folder / "serve.py").write_text(SERVE)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "only for this test",
        "RAY_ADDRESS": f"127.0.0.1:{port}",
    }
    start_ray = (
        f"ray start --head --port={port} --num-cpus=0 --object-store-memory=100000000 "
        f"--include-dashboard=false --disable-usage-stats --temp-dir={short_folder}/ray --block"
    )
    serve = f"{sys.executable} {short_folder}/serve.py {short_folder}"
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
        while not (short_folder / "serving").exists():
            assert head.poll() is None, (short_folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        head.terminate()
        assert head.wait(SECONDS) == 0, (short_folder / "log").read_text()
    finally:
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGTERM)  # of this test alone; Ray ends what it started
            head.wait(SECONDS)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{short_folder}/ray" not in left.stdout
