"""A Ray head, started with `ray start` as a user does."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

BIN = Path(sys.executable).parent
PATIENCE = 90.0  # seconds


@dataclass(frozen=True)
class Head:
    """Address of a Ray head, and environment variables of its clients."""

    port: int
    dashboard: int  # port of Ray's job API
    folder: str  # Ray's temporary folder
    environment: dict[str, str]

    @property
    def address(self) -> str:
        """Address for drivers."""
        return f"127.0.0.1:{self.port}"


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


@contextmanager
def ray_head(cpus: int = 2, jobs: bool = False) -> Iterator[Head]:
    """`ray start --head` until the end of the block, with token authentication, as Ray has it.

    Args:
        cpus: cores to give away.
        jobs: whether it takes Ray jobs, too.
    """
    port, dashboard, agent, client = free_ports(4)
    folder = mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", **token}
    command = [
        *(BIN / "ray", "start", "--head", "--block", "--disable-usage-stats"),
        *(f"--port={port}", f"--num-cpus={cpus}", f"--temp-dir={folder}"),
        *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
        *(f"--ray-client-server-port={client}", f"--object-store-memory={2**28}"),
        f"--include-dashboard={'true' if jobs else 'false'}",
    ]
    log = Path(folder, "start.log")
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        # At the end, there is nothing that `ray stop` should wait for.
        env=os.environ | environment | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Head(port, dashboard, folder, environment)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        rmtree(folder, ignore_errors=True)
