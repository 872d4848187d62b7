"""The migration of a queue's file is interrupted: it leaves the one layout or the other, whole."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.old_queues import contents, layout, layout_1, renamed, without_added, write_layout_1
from support.queues import file_limit

from stn_cluster.errors import StoreError
from stn_cluster.queue.database import FILE, connect
from stn_cluster.queue.layout import VERSION

KILLED = """
import os, signal, sys
from pathlib import Path
from stn_cluster.queue import database

folder, point = sys.argv[1:]
migrate = database.lay_out

def die_at_point(statement):
    if statement.strip().startswith(point):
        os.kill(os.getpid(), signal.SIGKILL)

def killed(db, version):
    db.execute("PRAGMA cache_size = 1")  # its pages are written before it commits
    db.set_trace_callback(die_at_point)
    migrate(db, version)

database.lay_out = killed
database.connect(Path(folder))
"""


def whole(folder: Path) -> int:
    """Layout of a file, which has every row as that layout has them."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        rows, number = contents(db), layout(db)
    rows = without_added(rows)
    assert rows == (layout_1() if number == 1 else renamed(layout_1()))
    return number


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder with a file of the first layout."""
    return write_layout_1(tmp_path / "state")


@pytest.mark.parametrize("point", ["UPDATE cells", "ALTER TABLE attempts", "CREATE", "COMMIT"])
def test_a_kill_within_the_migration_leaves_the_first_layout_whole(state: Path, point: str) -> None:
    script = [sys.executable, "-c", KILLED, str(state), point]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (state / f"{FILE}-wal").stat().st_size > 0  # it was in the midst of it
    assert whole(state) == 1
    connect(state).close()
    assert whole(state) == VERSION


def test_a_power_cut_anywhere_in_the_migration_leaves_one_layout_or_the_other_whole(
    state: Path, tmp_path: Path
) -> None:
    db = connect(state)
    file, log = ((state / name).read_bytes() for name in (FILE, f"{FILE}-wal"))
    db.close()
    found = []
    for number, length in enumerate([*range(0, len(log), 5003), len(log)]):
        folder = tmp_path / f"cut-{number}"
        folder.mkdir()
        (folder / FILE).write_bytes(file)
        (folder / f"{FILE}-wal").write_bytes(log[:length])
        shutil.copytree(folder, looked_at := tmp_path / "looked-at")
        found.append(whole(looked_at))
        shutil.rmtree(looked_at)
        connect(folder).close()
        assert whole(folder) == VERSION
    assert found == sorted(found)
    assert set(found) == {1, VERSION}


def test_a_disk_without_room_for_the_migration_leaves_the_first_layout_whole(state: Path) -> None:
    with file_limit(40_000), pytest.raises(StoreError, match=r"queue\.sqlite: cannot be opened"):
        connect(state)
    assert whole(state) == 1
    connect(state).close()
    assert whole(state) == VERSION
