"""`stn-cluster serve` in a separate process, which tests kill and restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.ray_head import BIN, Head

TOKEN = "a-token-of-some-length"
SECRET = "of notifications"
PATIENCE = 120.0  # seconds


@dataclass
class Server:
    """A server whose store, state and log are below a folder."""

    head: Head
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Its store."""
        return self.folder / "store"

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its whole log."""
        file = self.folder / "serve.log"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def command(self, *more: str) -> list[str]:
        """Its command line."""
        return [
            *(
                str(BIN / "stn-cluster"),
                "serve",
                f"--store={self.store}",
                f"--state={self.folder / 'state'}",
            ),
            *(f"--address={self.head.address}", f"--port={self.port}"),
            *(*self.options, *more),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """Its environment."""
        own = {"STN_CLUSTER_TOKEN": TOKEN, "STN_CLUSTER_NOTIFY_SECRET": SECRET}
        return os.environ | self.head.environment | own

    def start(self, *more: str) -> None:
        """Starts it, and waits until it serves."""
        before = len(self.log)
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(*more), stderr=log, env=self.environment)
        deadline = time.monotonic() + PATIENCE
        while not any(said["message"] == "serving" for said in self.log[before:]):
            assert self.process.poll() is None, self.log[before:]
            assert time.monotonic() < deadline, self.log[before:]
            time.sleep(0.1)

    def end(self, sign: signal.Signals) -> int:
        """Signals it and waits for its end; returns its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE)
