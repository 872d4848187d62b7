"""The result store among real processes: the lock, and a writer that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stn_cluster.errors import StoreError
from stn_cluster.store import Store

_HOLD = """
import sys
from stn_cluster.store import Store
with Store.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""

_COMMIT = """
import sys
from support.records import make_cell, make_record
from stn_cluster.store import Store
store = Store.open(sys.argv[1])
for seed in range(100_000):
    store.commit([make_record(make_cell(seed=2 * seed)), make_record(make_cell(seed=2 * seed + 1))])
    print("committed", flush=True)
"""


def start(script: str, store: Store) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, store.uri],
        cwd=Path(__file__).parents[2],  # finds support/
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_second_service_is_refused_until_the_first_ends_even_by_a_kill(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    with start(_HOLD, store) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        with pytest.raises(StoreError, match="another service holds this store") as caught:
            store.lock()
        assert time.monotonic() - began < 1
        assert str(tmp_path) in str(caught.value)
        holder.kill()
    held = store.lock()
    with pytest.raises(StoreError, match="another service"):
        Store.open(tmp_path).lock()
    held.close()
    with store.lock():
        pass


def test_after_sigkill_the_store_holds_whole_commits_and_takes_new_ones(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    promised = 0
    for _ in range(2):
        with start(_COMMIT, store) as writer:
            assert writer.stdout is not None
            for _ in range(10):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            promised += 10 + writer.stdout.read().count("committed")
        store.check()
        rows = store.results(latest=False)
        assert len(rows) % 2 == 0
        assert len(rows) >= 2 * promised
        assert rows["accepted_at"].is_unique
        predictions = store.read("predictions", columns=["attempt"])["attempt"].to_pylist()
        assert set(rows["attempt"]) <= set(predictions)
