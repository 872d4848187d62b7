"""A Ray head, started with `ray start` as a user does."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

BIN = Path(sys.executable).parent
PATIENCE = 90.0  # seconds
TRIES = 3


@dataclass(frozen=True)
class Head:
    """Address of a Ray head, and environment variables of its clients."""

    port: int
    dashboard: int  # port of Ray's job API
    folder: str  # Ray's temporary folder
    environment: dict[str, str]
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        """Address for drivers and other nodes."""
        return f"{self.host}:{self.port}"


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


@contextmanager
def ray_head(cpus: int = 2, jobs: bool = False, host: str = "127.0.0.1") -> Iterator[Head]:
    """`ray start --head` until the end of the block, with token authentication, as Ray has it.

    Args:
        cpus: cores to give away.
        jobs: whether it takes Ray jobs, too.
        host: address by which other nodes reach it.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", **token}
    with ExitStack() as stack:
        # Ports that are free now may be another's a moment later, as other tests start Ray, too.
        for _ in range(TRIES):
            port, dashboard, agent, client = free_ports(4)
            folder = mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
            stack.callback(rmtree, folder, ignore_errors=True)
            head = Head(port, dashboard, folder, environment, host)
            options = [
                *("--head", f"--port={port}", f"--num-cpus={cpus}", f"--temp-dir={folder}"),
                *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
                *(f"--ray-client-server-port={client}", f"--object-store-memory={2**28}"),
                *([] if host == "127.0.0.1" else [f"--node-ip-address={host}"]),
                f"--include-dashboard={'true' if jobs else 'false'}",
            ]
            stack.enter_context(_ray(head, options))
            if _answers(head):
                break
        yield head


def _answers(head: Head) -> bool:
    """Whether somebody listens at a head's address."""
    try:
        socket.create_connection((head.host, head.port), PATIENCE).close()
    except OSError:
        return False
    return True


@contextmanager
def ray_node(
    head: Head, host: str, cpus: int = 2, before: Sequence[str] = (), **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start --address` until the end of the block; yields its process.

    Args:
        head: of its cluster.
        host: its own address.
        cpus: cores to give away.
        before: beginning of the command, such as what runs it elsewhere.
        environment: additional variables.
    """
    options = [
        *(f"--address={head.address}", f"--node-ip-address={host}", f"--num-cpus={cpus}"),
        f"--object-store-memory={2**27}",
    ]
    with _ray(head, options, before, environment) as process:
        yield process


@contextmanager
def _ray(
    head: Head,
    options: Sequence[str],
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    command = [*before, str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *options]
    log = Path(head.folder, f"start-{secrets.token_hex(3)}.log")
    process = subprocess.Popen(
        command,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        # At the end, there is nothing that `ray stop` should wait for.
        env={
            **os.environ,
            **head.environment,
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            **(environment or {}),
        },
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
