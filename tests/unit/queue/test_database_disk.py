"""The disk that the queue is on: of another machine, unwritable, or full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.queues import QueueUnderTest, cells, files, full_disk

from stn_cluster.errors import StoreError
from stn_cluster.queue import queries, submit
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.database import FILE, QueueError, connect, connect_reader, filesystem
from stn_cluster.queue.finish import finish, recover, save_checkpoints
from stn_cluster.queue.jobs import CellState

NOBODY = 65534


def contents(folder: Path) -> list[str]:
    """Every row of every table."""
    reader = connect_reader(folder)
    try:
        return list(reader.iterdump())
    finally:
        reader.close()


# --- where it lies ---

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/me/local xfs rw 0 0
//nas/my\040files /mnt/my\040files cifs rw 0 0
host:/a /mnt/tab\011back\134slash lustre rw 0 0
host:/b /mnt/größe nfs rw 0 0
host:/c /mnt/wide　space nfs rw 0 0
/dev/sdc1 /data ext4 rw 0 0
me@host: /data fuse.sshfs rw 0 0
 /mnt/nameless tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/somewhere/else", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/state", "nfs4"),
        ("/homestead", "ext4"),
        ("/home/me/local/state", "xfs"),
        ("/mnt/my files/state", "cifs"),
        ("/mnt/tab\tback\\slash", "lustre"),
        ("/mnt/größe/state", "nfs"),
        ("/mnt/wide\u3000space", "nfs"),
        ("/data/state", "fuse.sshfs"),  # mounted over the disk
        ("/mnt/nameless", "tmpfs"),
    ],
)
def test_a_folders_filesystem_is_that_of_the_innermost_mount(folder: str, kind: str) -> None:
    assert filesystem(Path(folder), MOUNTS) == kind


def test_where_nobody_tells_the_filesystem_none_is_known(tmp_path: Path) -> None:
    assert filesystem(tmp_path, "") is None
    assert filesystem(tmp_path) not in (None, "nfs")


def test_a_state_on_a_network_filesystem_is_refused_before_a_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stn_cluster.queue.database.filesystem", lambda _: "nfs4")
    with pytest.raises(QueueError, match="the state must be on a local disk, and this is nfs4"):
        connect(tmp_path)
    assert files(tmp_path) == {}


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """One that anybody can get at; pytest's own is root's where root runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def no_root() -> Iterator[None]:
    """Root may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("used", [True, False])
def test_a_folder_that_may_not_be_written_is_named_with_the_cause(
    shared_folder: Path, used: bool
) -> None:
    if used:
        QueueUnderTest(shared_folder).close()
        (shared_folder / FILE).chmod(0o444)
    shared_folder.chmod(0o555)
    before = files(shared_folder)
    with no_root(), pytest.raises(StoreError, match="cannot be opened: ") as caught:
        connect(shared_folder)
    assert str(shared_folder / FILE) in str(caught.value)
    assert files(shared_folder) == before


# --- a full disk ---


def changes(queue: QueueUnderTest) -> dict[str, Callable[[], object]]:
    """All changes, each with something to write."""
    queue.submit("a", cells(6))
    saved, lost, done, failed, _ = (queue.claim()[0] for _ in range(5))
    queue.fail(failed)
    result = queue.store(done)
    return {
        "submit": lambda: queue.submit("b", cells(3, first=5)),
        "claim": queue.claim,
        "finish": lambda: finish(queue.db, [result]),
        "requeue": lambda: queue.requeue([lost], ExitReason.DIED),
        "save checkpoints": lambda: save_checkpoints(queue.db, [Checkpoint(saved.id, 4)]),
        "cancel": lambda: queue.cancel("a"),
        "retry": lambda: queue.retry("a"),
        "recover": lambda: recover(queue.db, queue.known),
        "mark recorded": lambda: submit.mark_recorded(queue.db, "a"),
    }


CHANGES = [
    *("submit", "claim", "finish", "requeue", "save checkpoints", "cancel", "retry", "recover"),
    "mark recorded",
]


@pytest.mark.parametrize("name", CHANGES)
def test_on_a_full_disk_nothing_changes_and_with_room_again_all_goes_on(
    queue: QueueUnderTest, name: str
) -> None:
    change = changes(queue)[name]
    before = contents(queue.folder)
    for _ in range(3):
        with full_disk(queue.folder), pytest.raises(sqlite3.OperationalError, match=r"disk|full"):
            change()
        assert contents(queue.folder) == before
    change()
    assert contents(queue.folder) != before
    queue.restart()
    assert queries.job_status(queue.db, "a")[0].total == 6


def test_a_large_submission_to_a_disk_that_fills_up_within_leaves_nothing(
    queue: QueueUnderTest,
) -> None:
    queue.submit("a", cells(10))
    before = contents(queue.folder)
    pages = queue.db.execute("PRAGMA page_count").fetchone()[0]
    queue.db.execute(f"PRAGMA max_page_count = {pages + 40}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        queue.submit("b", cells(500))
    assert contents(queue.folder) == before
    assert len(queue.claim()) == 1
    queue.db.execute("PRAGMA max_page_count = 1000000")
    assert queue.submit("b", cells(500))
    assert queue.states("b")[10:] == [CellState.QUEUED] * 490
