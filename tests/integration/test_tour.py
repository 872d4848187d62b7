"""The tour of docs/cluster.md, word by word, in two shells of a user's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.ray_head import BIN, free_ports

from stn_cluster import load_results

PROJECT = Path(__file__).parents[2]
PATIENCE = 280.0  # seconds
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> tuple[list[str], list[str]]:
    """The tour's shell blocks, and its Python blocks."""
    text = (PROJECT / "docs" / "cluster.md").read_text()
    tour = text.partition("\n## ")[0]
    found = BLOCK.findall(tour)
    shell = [body for kind, body in found if not kind]
    return shell, [body for kind, body in found if kind == "python"]


class Shell:
    """Runs lines as a user would, in a home of their own and on ports that are free."""

    def __init__(self, home: Path) -> None:
        self.home = home
        ray, dashboard, agent, client, self.port = free_ports(5)
        self.head = (
            f"--port={ray} --dashboard-port={dashboard} --dashboard-agent-listen-port={agent} "
            f"--ray-client-server-port={client} --num-cpus=4 --temp-dir={home}/ray --block"
        )
        self.environment = {
            "HOME": str(home),
            # More cores than the service has workers: the Ray jobs' need some, too.
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "RAY_ADDRESS": f"127.0.0.1:{ray}",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # at its end nothing is left to wait for
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        }

    def start(self, lines: str) -> subprocess.Popen[str]:
        """Begins to run them; the first that fails is the last."""
        # In the background, where its end can be seen to.
        head = f"ray start --head {self.head} & until ray health-check; do sleep 0.5; done"
        lines = re.sub(r"^ray start --head.*", head, lines, flags=re.MULTILINE)
        lines = lines.replace("serve --", f"serve --port {self.port} --workers 2 --")
        lines = lines.replace("8267", str(self.port))
        return subprocess.Popen(
            ["bash", "-ec", lines],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=self.environment,
            start_new_session=True,
        )

    def run(self, lines: str) -> str:
        """Runs them to their end; what they print."""
        process = self.start(lines)
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + errors
        return out


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path: Ray's sockets are deep below it."""
    with TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.timeout(600)
def test_the_tour(home: Path) -> None:
    [first, second, ray_jobs], [client, duckdb] = blocks()
    shell = Shell(home)
    serving = shell.start(first)
    try:
        ready = f"curl -sf http://127.0.0.1:{shell.port}/v1/ready"
        shell.run(f"for i in $(seq 300); do {ready} && exit 0; sleep 0.3; done; exit 1")
        out = shell.run(second)
        assert "32 of 32 cells done" in out
        assert "| ST-CNN | tps |" in out
        assert "goes on" not in out
        for code, said in ((client, "2 of 2"), (duckdb, "ST-CNN")):
            code = code.replace("8267", str(shell.port))
            assert said in shell.run(f"{sys.executable} - <<'END'\n{code}\nEND")
        out = shell.run(ray_jobs)
        assert "| FCN | none |" in out
        assert out.count("succeeded") == 3
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        _, said = serving.communicate(timeout=60)
    assert '"stopped"' in said
    for store, cells in (("store", 32), ("jobs", 4)):
        assert list(load_results(shell.home / "stn" / store)["status"]) == ["succeeded"] * cells
