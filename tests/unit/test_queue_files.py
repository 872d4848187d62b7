"""The queue's file: damaged, foreign, cut short, gone, or on a disk that is full or not ours."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from queues import Service, cells

from stn_cluster.cluster.job import State
from stn_cluster.cluster.messages import Checkpoint
from stn_cluster.cluster.queue import FILE, Ending, Queue, QueueError
from stn_cluster.cluster.queue.database import connect_reader, filesystem
from stn_cluster.errors import StoreError

PAGE = 4096
NOBODY = 65534


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "state")
    yield service
    service.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents(folder: Path) -> list[str]:
    """Every row of every table."""
    reader = connect_reader(folder)
    try:
        return list(reader.iterdump())
    finally:
        reader.close()


def refused(folder: Path, said: str) -> None:
    """Nothing is opened, the message is one line that names the file, and no byte has changed."""
    before = files(folder)
    with pytest.raises(QueueError, match=said) as caught:
        Queue(folder)
    assert str(folder / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(folder) == before


# --- damage ---


def test_damage_to_any_page_is_found_and_nothing_is_deleted(service: Service) -> None:
    service.submit("a", cells(60))
    service.claim_all()
    service.close()
    path = service.folder / FILE
    whole = path.read_bytes()
    noise = random.Random(0).randbytes(PAGE)
    assert len(whole) > 20 * PAGE
    for start in range(0, len(whole), PAGE):
        path.write_bytes(whole[:start] + noise + whole[start + PAGE :])
        refused(service.folder, "damaged .*: move it and its -wal and -shm away and submit the")
    path.write_bytes(whole)
    service.queue = Queue(service.folder)
    assert service.states("a") == [State.RUNNING] * 60


@pytest.mark.parametrize("length", [99, PAGE - 1, PAGE, 5 * PAGE + 7])
def test_a_file_that_was_cut_off_is_damaged(service: Service, length: int) -> None:
    service.submit("a", cells(60))
    service.close()
    os.truncate(service.folder / FILE, length)
    refused(service.folder, "damaged")


@pytest.mark.parametrize("content", [random.Random(1).randbytes(10_000), b"PAR1", b"\n" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    refused(tmp_path, r"damaged \(file is not a database\)")


def test_a_file_of_a_newer_layout_is_refused(service: Service) -> None:
    service.submit("a", cells(1))
    service.close()
    with sqlite3.connect(service.folder / FILE) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    refused(service.folder, r"newer version of stn-cluster \(layout 7\)")


# --- a kill, a power cut ---


def cut(service: Service, folder: Path, change: Callable[[bytes], bytes]) -> Service:
    """What is found after a power cut that did this to the write-ahead log."""
    folder.mkdir()
    shutil.copy(service.folder / FILE, folder)
    (folder / f"{FILE}-wal").write_bytes(change((service.folder / f"{FILE}-wal").read_bytes()))
    return Service(folder)


def keep(length: int) -> Callable[[bytes], bytes]:
    return lambda wal: wal[:length]


def spoil(start: int) -> Callable[[bytes], bytes]:
    return lambda wal: wal[:start] + random.Random(2).randbytes(500) + wal[start + 500 :]


def test_a_damaged_log_loses_the_last_changes_whole_and_no_others(
    service: Service, tmp_path: Path
) -> None:
    jobs = [f"job-{number}" for number in range(8)]
    for number, job_id in enumerate(jobs):
        service.submit(job_id, cells(2, first=2 * number))
        service.succeed(*service.claim_all())
    length = (service.folder / f"{FILE}-wal").stat().st_size
    kept = set()
    for number, start in enumerate(range(0, length, 20011)):
        for change in (keep, spoil):
            after = cut(service, tmp_path / f"{change.__name__}-{number}", change(start))
            found = [job.job_id for job in after.queue.jobs()]
            assert found == jobs[: len(found)]
            for job_id in found[:-1]:
                assert after.states(job_id) == [State.SUCCEEDED] * 2
            kept.add(len(found))
            after.close()
    assert kept == set(range(9))


def test_after_a_lost_log_jobs_are_submitted_again_and_what_the_store_has_is_not_queued(
    service: Service, tmp_path: Path
) -> None:
    service.submit("a", cells(3))
    length = (service.folder / f"{FILE}-wal").stat().st_size
    service.succeed(*service.claim(), *service.claim())
    service.submit("b", cells(3, first=1))
    after = cut(service, tmp_path / "after", keep(length))
    after.rows = service.rows
    assert after.restart() == (2, [])
    assert after.states("a") == [State.SUCCEEDED, State.SUCCEEDED, State.QUEUED]
    assert after.submit("b", cells(3, first=1))
    assert after.states("b") == [State.SUCCEEDED, State.QUEUED, State.QUEUED]
    after.succeed(*after.claim_all())
    assert after.state("a") is after.state("b") is State.SUCCEEDED
    after.close()


def test_a_kill_within_a_large_submission_leaves_nothing_of_it_and_one_after_it_all(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(point: str) -> None:
        shutil.copytree(service.folder, tmp_path / point)

    service.submit("a", cells(2))
    monkeypatch.setattr("stn_cluster.cluster.queue.database.reach", kill)
    service.submit("b", cells(3000))  # more than SQLite holds in memory before it writes
    monkeypatch.undo()
    written = (tmp_path / "submit-written" / f"{FILE}-wal").stat().st_size
    assert written > 50 * PAGE
    before, after = Service(tmp_path / "submit-written"), Service(tmp_path / "submit-committed")
    assert [job.job_id for job in before.queue.jobs()] == ["a"]
    assert before.states("a") == [State.QUEUED] * 2
    assert before.submit("b", cells(3000))
    assert not after.submit("b", cells(3000))
    assert before.states("b") == after.states("b") == [State.QUEUED] * 3000
    before.close()
    after.close()


def test_a_file_that_is_gone_loses_no_result(service: Service) -> None:
    service.submit("a", cells(4))
    claims = service.claim_all()
    service.succeed(*claims[:2])
    service.fail(claims[2])
    service.close()
    for path in service.folder.glob(f"{FILE}*"):
        path.unlink()
    assert service.restart() == (0, [])
    assert service.queue.jobs() == []
    assert service.submit("a", cells(4))
    assert service.states("a") == [*[State.SUCCEEDED] * 2, *[State.QUEUED] * 2]
    assert service.queue.finish([service.store(claims[3])]) == [False]


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
    monkeypatch.setattr("stn_cluster.cluster.queue.database.filesystem", lambda _: "nfs4")
    with pytest.raises(QueueError, match="the state must be on a local disk, and this is nfs4"):
        Queue(tmp_path)
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
        Service(shared_folder).close()
        (shared_folder / FILE).chmod(0o444)
    shared_folder.chmod(0o555)
    before = files(shared_folder)
    with no_root(), pytest.raises(StoreError, match="cannot be opened: ") as caught:
        Queue(shared_folder)
    assert str(shared_folder / FILE) in str(caught.value)
    assert files(shared_folder) == before


# --- a full disk ---


@contextmanager
def full_disk(service: Service) -> Iterator[None]:
    """The log cannot grow by a byte: each write of it is an error of the operating system."""
    length = (service.folder / f"{FILE}-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def changes(service: Service) -> dict[str, Callable[[], object]]:
    """All that writes, each with something to write."""
    service.submit("a", cells(6))
    saved, lost, done, failed, _ = (service.claim()[0] for _ in range(5))
    service.fail(failed)
    end = service.store(done)
    return {
        "submit": lambda: service.submit("b", cells(3, first=5)),
        "claim": service.claim,
        "finish": lambda: service.queue.finish([end]),
        "lose": lambda: service.lose([lost], Ending.DIED),
        "save": lambda: service.queue.note_checkpoint([Checkpoint(saved.assignment.attempt, 4)]),
        "cancel": lambda: service.queue.cancel("a"),
        "retry": lambda: service.queue.retry("a", service.ends),
        "recover": lambda: service.queue.recover(service.ends),
        "note recorded": lambda: service.queue.note_recorded("a"),
    }


NAMES = ["submit", "claim", "finish", "lose", "save", "cancel", "retry", "recover", "note recorded"]


@pytest.mark.parametrize("name", NAMES)
def test_on_a_full_disk_nothing_changes_and_with_room_again_all_goes_on(
    service: Service, name: str
) -> None:
    change = changes(service)[name]
    before = contents(service.folder)
    for _ in range(3):
        with full_disk(service), pytest.raises(sqlite3.OperationalError, match=r"disk|full"):
            change()
        assert contents(service.folder) == before
    change()
    assert contents(service.folder) != before
    queue = service.queue
    service.restart()
    assert service.queue is not queue
    assert service.queue.job("a")[0].total == 6


def test_a_large_submission_to_a_disk_that_fills_up_within_leaves_nothing(
    service: Service,
) -> None:
    service.submit("a", cells(10))
    before = contents(service.folder)
    database = service.queue._db
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 40}")
    with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
        service.submit("b", cells(500))
    assert contents(service.folder) == before
    assert len(service.claim()) == 1
    database.execute("PRAGMA max_page_count = 1000000")
    assert service.submit("b", cells(500))
    assert service.states("b")[10:] == [State.QUEUED] * 490
