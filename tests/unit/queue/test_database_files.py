"""The queue's file: damaged, foreign, newer, cut short, or gone."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.queues import QueueUnderTest, cells, end_of, files

from stn_cluster.queue import queries
from stn_cluster.queue.attempts import ExitReason
from stn_cluster.queue.database import FILE, QueueError, connect
from stn_cluster.queue.finish import finish
from stn_cluster.queue.jobs import CellState

PAGE = 4096


def refused(folder: Path, said: str) -> None:
    """Nothing is opened, the message is one line that names the file, and no byte has changed."""
    before = files(folder)
    with pytest.raises(QueueError, match=said) as caught:
        connect(folder)
    assert str(folder / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(folder) == before


# --- damage ---


def test_damage_to_any_page_is_found_and_nothing_is_deleted(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(60))
    queue.claim_all()
    queue.close()
    path = queue.folder / FILE
    whole = path.read_bytes()
    noise = random.Random(0).randbytes(PAGE)
    assert len(whole) > 20 * PAGE
    for start in range(0, len(whole), PAGE):
        path.write_bytes(whole[:start] + noise + whole[start + PAGE :])
        refused(queue.folder, "damaged .*: move it and its -wal and -shm away and submit the")
    path.write_bytes(whole)
    queue.db = connect(queue.folder)
    assert queue.states("a") == [CellState.RUNNING] * 60


@pytest.mark.parametrize("length", [99, PAGE - 1, PAGE, 5 * PAGE + 7])
def test_a_file_that_was_cut_off_is_damaged(queue: QueueUnderTest, length: int) -> None:
    queue.submit("a", cells(60))
    queue.close()
    os.truncate(queue.folder / FILE, length)
    refused(queue.folder, "damaged")


@pytest.mark.parametrize("content", [random.Random(1).randbytes(10_000), b"PAR1", b"\n" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    refused(tmp_path, r"damaged \(file is not a database\)")


def test_a_file_of_a_newer_layout_is_refused(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(1))
    queue.close()
    with sqlite3.connect(queue.folder / FILE) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    refused(queue.folder, r"newer version of stn-cluster \(layout 7\)")


# --- a kill, a power cut ---


def cut(queue: QueueUnderTest, folder: Path, change: Callable[[bytes], bytes]) -> QueueUnderTest:
    """Contents of the queue after a power cut that left the write-ahead log like this."""
    folder.mkdir()
    shutil.copy(queue.folder / FILE, folder)
    (folder / f"{FILE}-wal").write_bytes(change((queue.folder / f"{FILE}-wal").read_bytes()))
    return QueueUnderTest(folder)


def keep(length: int) -> Callable[[bytes], bytes]:
    return lambda wal: wal[:length]


def spoil(start: int) -> Callable[[bytes], bytes]:
    return lambda wal: wal[:start] + random.Random(2).randbytes(500) + wal[start + 500 :]


def test_a_damaged_log_loses_the_last_changes_whole_and_no_others(
    queue: QueueUnderTest, tmp_path: Path
) -> None:
    jobs = [f"job-{number}" for number in range(8)]
    for number, job_id in enumerate(jobs):
        queue.submit(job_id, cells(2, first=2 * number))
        queue.succeed(*queue.claim_all())
    length = (queue.folder / f"{FILE}-wal").stat().st_size
    kept = set()
    for number, start in enumerate(range(0, length, 20011)):
        for change in (keep, spoil):
            after = cut(queue, tmp_path / f"{change.__name__}-{number}", change(start))
            found = [job.job_id for job in queries.jobs(after.db)]
            assert found == jobs[: len(found)]
            for job_id in found[:-1]:
                assert after.states(job_id) == [CellState.SUCCEEDED] * 2
            kept.add(len(found))
            after.close()
    assert kept == set(range(9))


def test_after_a_lost_log_jobs_are_submitted_again_and_what_the_store_has_is_not_queued(
    queue: QueueUnderTest, tmp_path: Path
) -> None:
    queue.submit("a", cells(3))
    length = (queue.folder / f"{FILE}-wal").stat().st_size
    queue.succeed(*queue.claim(), *queue.claim())
    queue.submit("b", cells(3, first=1))
    after = cut(queue, tmp_path / "after", keep(length))
    after.stored = queue.stored
    assert after.restart() == (2, [])
    assert after.states("a") == [CellState.SUCCEEDED, CellState.SUCCEEDED, CellState.QUEUED]
    assert after.submit("b", cells(3, first=1))
    assert after.states("b") == [CellState.SUCCEEDED, CellState.QUEUED, CellState.QUEUED]
    after.succeed(*after.claim_all())
    assert after.state("a") is after.state("b") is CellState.SUCCEEDED
    after.close()


def test_a_result_from_an_attempt_that_was_in_the_lost_log_ends_the_attempt_after_it(
    queue: QueueUnderTest, tmp_path: Path
) -> None:
    queue.submit("a", cells(1))
    length = (queue.folder / f"{FILE}-wal").stat().st_size
    [lost] = queue.claim()
    after = cut(queue, tmp_path / "after", keep(length))
    [running] = after.claim()
    after.stored = [queue.store(lost)]
    assert after.restart() == (1, [])
    assert after.state("a") is CellState.SUCCEEDED
    [attempt] = after.attempts(running.cell.key)
    assert attempt.id == running.id
    assert end_of(attempt).reason is ExitReason.COORDINATOR_LOST
    after.close()


def test_a_kill_within_a_large_submission_leaves_nothing_of_it_and_one_after_it_all(
    queue: QueueUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(point: str) -> None:
        shutil.copytree(queue.folder, tmp_path / point)

    queue.submit("a", cells(2))
    monkeypatch.setattr("stn_cluster.queue.database.failpoint", kill)
    queue.db.execute("PRAGMA cache_size = 100")  # pages: so that it writes before the end
    queue.submit("b", cells(3000))
    monkeypatch.undo()
    written = (tmp_path / "submit-written" / f"{FILE}-wal").stat().st_size
    assert written > 50 * PAGE
    before, after = (
        QueueUnderTest(tmp_path / "submit-written"),
        QueueUnderTest(tmp_path / "submit-committed"),
    )
    assert [job.job_id for job in queries.jobs(before.db)] == ["a"]
    assert before.states("a") == [CellState.QUEUED] * 2
    assert before.submit("b", cells(3000))
    assert not after.submit("b", cells(3000))
    assert before.states("b") == after.states("b") == [CellState.QUEUED] * 3000
    before.close()
    after.close()


def test_a_file_that_is_gone_loses_no_result(queue: QueueUnderTest) -> None:
    queue.submit("a", cells(4))
    attempts = queue.claim_all()
    queue.succeed(*attempts[:2])
    queue.fail(attempts[2])
    queue.close()
    for path in queue.folder.glob(f"{FILE}*"):
        path.unlink()
    assert queue.restart() == (0, [])
    assert queries.jobs(queue.db) == []
    assert queue.submit("a", cells(4))
    assert queue.states("a") == [*[CellState.SUCCEEDED] * 2, *[CellState.QUEUED] * 2]
    assert finish(queue.db, [queue.store(attempts[3])]) == [False]
