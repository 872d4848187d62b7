"""The lock of a store: one service holds it, and nobody else of the machine can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stn_cluster.errors import StoreError
from stn_cluster.store import Store

HOLD = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def test_another_service_is_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    with store.lock(), pytest.raises(StoreError, match="another service holds this store"):
        store.lock()
    with store.lock():
        pass


def test_who_may_only_read_a_store_cannot_hold_its_lock(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    file = tmp_path / "store" / "lock"
    file.touch()
    file.chmod(0o644)  # as older versions made it, in a store that others may read
    assert subprocess.run([sys.executable, "-c", HOLD, file]).returncode == 0
    with store.lock():
        assert file.stat().st_mode & 0o777 == 0o600
