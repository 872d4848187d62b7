"""State folder: made if need be, and held by one service at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import StoreError


def test_the_folder_is_made_and_held_until_it_is_let_go(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    with lock_state_folder(folder):
        assert folder.is_dir()
        with pytest.raises(StoreError, match=rf"^another run holds this state folder: {folder}$"):
            lock_state_folder(folder, what="run")
    lock_state_folder(folder).close()


def test_another_service_is_waited_for(tmp_path: Path) -> None:
    held = lock_state_folder(tmp_path)
    threading.Timer(0.2, held.close).start()
    lock_state_folder(tmp_path, wait=60).close()


def test_a_folder_that_cannot_be_made_is_named_with_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreError, match=rf"^{file}/state: cannot hold the service's state: Not a"):
        lock_state_folder(file / "state")
