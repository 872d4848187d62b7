"""Runs the real command in a separate process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from stn_cluster import load_results

COMMAND = Path(sys.executable).with_name("stn-cluster")
TIMEOUT_SECONDS = 240
# Columns that must not depend on when, where and in which pack a cell was trained.
NUMBERS = ["key", "label", "status", "test_error", "n_wrong", "train_loss", "iterations"]


def stn_cluster(
    *arguments: str | Path, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `stn-cluster` to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=folder,
        env=os.environ | environment,
    )


def interrupted(
    sign: signal.Signals, when: Callable[[], bool], *arguments: str | Path
) -> tuple[int, str]:
    """Runs `stn-cluster`, signals it once `when` is true; returns its exit code and stderr.

    The signal is for its whole process group, as it is from a terminal and from `timeout`.
    """
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not when():
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.02)
    os.killpg(process.pid, sign)
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, errors


def numbers(store: Path) -> pd.DataFrame:
    """Results of a store, without columns that may differ between two runs of the same cells."""
    confusion = load_results(store)["confusion"].map(list)
    return load_results(store)[NUMBERS].assign(confusion=confusion)


def predictions(store: Path) -> dict[str, bytes]:
    """Predicted classes of each cell's newest success, by key."""
    current = load_results(store, status="succeeded")
    rows = pd.read_parquet(store / "predictions").set_index("attempt")["predictions"]
    attempts = zip(current["key"], current["attempt"], strict=True)
    return {key: bytes(rows[attempt].tolist()) for key, attempt in attempts}
