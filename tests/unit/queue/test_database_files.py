"""The queue's file: damaged, foreign, newer, cut short, or gone."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from support.queues import Service, cells, files

from stn_cluster.queue import FILE, ExitReason, Queue, QueueError
from stn_cluster.queue.jobs import CellState

PAGE = 4096
NOBODY = 65534


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
    assert service.states("a") == [CellState.RUNNING] * 60


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
                assert after.states(job_id) == [CellState.SUCCEEDED] * 2
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
    assert after.states("a") == [CellState.SUCCEEDED, CellState.SUCCEEDED, CellState.QUEUED]
    assert after.submit("b", cells(3, first=1))
    assert after.states("b") == [CellState.SUCCEEDED, CellState.QUEUED, CellState.QUEUED]
    after.succeed(*after.claim_all())
    assert after.state("a") is after.state("b") is CellState.SUCCEEDED
    after.close()


def test_a_result_from_an_attempt_that_was_in_the_lost_log_ends_the_attempt_after_it(
    service: Service, tmp_path: Path
) -> None:
    service.submit("a", cells(1))
    length = (service.folder / f"{FILE}-wal").stat().st_size
    [lost] = service.claim()
    after = cut(service, tmp_path / "after", keep(length))
    [claim] = after.claim()
    after.rows = [service.store(lost)]
    assert after.restart() == (1, [])
    assert after.state("a") is CellState.SUCCEEDED
    [attempt] = after.queue.attempts(claim.assignment.cell.key)
    assert (attempt.attempt, attempt.ending) == (
        claim.assignment.attempt,
        ExitReason.COORDINATOR_LOST,
    )
    after.close()


def test_a_kill_within_a_large_submission_leaves_nothing_of_it_and_one_after_it_all(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(point: str) -> None:
        shutil.copytree(service.folder, tmp_path / point)

    service.submit("a", cells(2))
    monkeypatch.setattr("stn_cluster.queue.database.reach", kill)
    service.submit("b", cells(3000))  # more than SQLite holds in memory before it writes
    monkeypatch.undo()
    written = (tmp_path / "submit-written" / f"{FILE}-wal").stat().st_size
    assert written > 50 * PAGE
    before, after = Service(tmp_path / "submit-written"), Service(tmp_path / "submit-committed")
    assert [job.job_id for job in before.queue.jobs()] == ["a"]
    assert before.states("a") == [CellState.QUEUED] * 2
    assert before.submit("b", cells(3000))
    assert not after.submit("b", cells(3000))
    assert before.states("b") == after.states("b") == [CellState.QUEUED] * 3000
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
    assert service.states("a") == [*[CellState.SUCCEEDED] * 2, *[CellState.QUEUED] * 2]
    assert service.queue.finish([service.store(claims[3])]) == [False]
