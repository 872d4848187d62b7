"""A file of a former layout of the queue is migrated, and nothing of it is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.old_queues import (
    LAYOUT_1,
    LAYOUT_2,
    LAYOUT_3,
    contents,
    layout,
    layout_1,
    renamed,
    without_added,
    write_layout_1,
)
from support.queues import QueueUnderTest, cells, end_of, ends_told, files, seeds
from support.records import make_cell

from stn_cluster.grid import Needs
from stn_cluster.queue import queries
from stn_cluster.queue.attempts import Checkpoint, ExitReason
from stn_cluster.queue.claim import demand
from stn_cluster.queue.database import connect
from stn_cluster.queue.jobs import CellState
from stn_cluster.queue.layout import VERSION

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = CellState
GPU = Needs(num_gpus=1)


@pytest.fixture(params=[LAYOUT_1, LAYOUT_2, LAYOUT_3], ids=["1", "2", "3"])
def migrated(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[QueueUnderTest]:
    """The queue in a file of a former layout."""
    queue = QueueUnderTest(write_layout_1(tmp_path / "former", request.param))
    yield queue
    queue.close()


# --- nothing is lost ---


def test_the_file_of_the_first_layout_has_every_state_and_every_end() -> None:
    rows = layout_1()
    assert {row["state"] for row in rows["cells"]} == set(CellState)
    later = {ExitReason.HUNG}  # ends that came with later versions
    assert {row["ending"] for row in rows["attempts"]} == {None, *ExitReason} - later
    for column in ("alone", "spent", "charged", "uncharged", "node_losses", "state_attempt"):
        assert any(row[column] for row in rows["cells"])
    assert any(row["charged"] for row in rows["attempts"])
    for column in ("stored", "waits", "dropped"):
        assert any(row[column] for row in rows["wants"])
    for column in ("force", "priority", "cancelled_at", "recorded", "folder"):
        assert any(row[column] for row in rows["jobs"])


def test_every_row_is_there_under_its_present_name(migrated: QueueUnderTest) -> None:
    assert without_added(contents(migrated.db)) == renamed(layout_1())
    assert layout(migrated.db) == VERSION


def test_the_tables_and_indexes_are_those_of_a_new_file(
    migrated: QueueUnderTest, queue: QueueUnderTest
) -> None:
    def columns(db: sqlite3.Connection, table: str) -> set[tuple[object, ...]]:
        return {tuple(row)[1:] for row in db.execute(f"PRAGMA table_info({table})")}

    def indexes(db: sqlite3.Connection) -> set[tuple[str, str]]:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'")
        return {tuple(row) for row in rows}

    assert set(contents(migrated.db)) == set(contents(queue.db))
    for table in contents(queue.db):
        assert columns(migrated.db, table) == columns(queue.db, table)
    assert indexes(migrated.db) == indexes(queue.db)


def test_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    state = write_layout_1(tmp_path / "state")
    connect(state).close()
    before = files(state)
    connect(state).close()
    assert files(state) == before


# --- it goes on as it would have ---


def test_jobs_and_their_cells_are_told_as_before(migrated: QueueUnderTest) -> None:
    told = {job.job_id: (job.state, job.priority) for job in queries.jobs(migrated.db)}
    assert told == {
        "grid": (RUNNING, 0),
        "stopped": (CANCELLED, 0),
        "again": (RUNNING, -1),
        "mine": (RUNNING, 2),
    }
    assert migrated.states("grid") == [RUNNING, FAILED, RUNNING, *[QUEUED] * 7]
    assert migrated.states("stopped") == [CANCELLED, SUCCEEDED, CANCELLED]
    assert migrated.states("again") == [RUNNING, QUEUED, QUEUED]
    assert migrated.states("mine") == [QUEUED, RUNNING, SUCCEEDED, QUEUED]
    assert migrated.test_errors("stopped") == [None, 5.0, None]
    assert queries.unrecorded_jobs(migrated.db) == ["stopped", "again"]
    [_, (_, failed), *_], _ = queries.cells(migrated.db, "grid")
    assert failed.error == "ValueError: the loss is not finite"
    assert json.loads(queries.job_record(migrated.db, "grid"))["config"] == {"name": "grid"}


def test_the_same_job_again_is_still_the_same_job(migrated: QueueUnderTest) -> None:
    assert not migrated.submit("stopped", cells(3, first=10))


def test_cells_are_claimed_in_the_same_order_and_resume_from_their_checkpoints(
    migrated: QueueUnderTest,
) -> None:
    pools = [(pool.needs, pool.cells, pool.priority) for pool in demand(migrated.db)]
    assert pools == [(GPU, 1, 2), (Needs(), 7, 2)]
    claimed = [*migrated.claim_all(), *migrated.claim(needs=GPU)]
    assert [(attempt.job_id, attempt.cell.seed) for attempt in claimed] == [
        ("mine", 5),
        ("grid", 4),
        *[("grid", 20)] * 3,
        ("again", 6),
        ("again", 40),
        ("mine", 50),
    ]
    assert claimed[0].cell.recipe == "mine"
    resumed = [attempt.resume_from for attempt in claimed if attempt.resume_from]
    assert resumed == [Checkpoint(f"{5:032x}", 6)]
    assert seeds(attempt for attempt in claimed if attempt.is_first) == [40, 50]


def test_what_ran_is_requeued_with_its_checkpoint_and_a_cancelled_cell_resumes(
    migrated: QueueUnderTest,
) -> None:
    ended, requeued = migrated.restart()
    assert (ended, len(requeued)) == (0, 2)
    migrated.retry("stopped")
    resumed = {
        attempt.cell.seed: attempt.resume_from.step
        for attempt in migrated.claim_all()
        if attempt.resume_from
    }
    assert resumed == {0: 1, 2: 8, 4: 6, 10: 3}


def test_failures_still_count_and_an_isolated_cell_stays_isolated(migrated: QueueUnderTest) -> None:
    [exhausted] = migrated.exhausted()
    assert exhausted.cell.seed == 3
    assert ends_told(exhausted) == [
        "died: out of memory",
        "expired: no word for a lease",
        "node lost: its node went",
        "died: killed",
    ]
    migrated.claim()
    assert seeds(migrated.claim()) == [4]  # it has died once
    isolated = migrated.claim(3)
    assert seeds(isolated) == [20]  # so has this one, after its pack had
    migrated.requeue(isolated, ExitReason.DIED)
    assert len(migrated.exhausted()) == 1
    migrated.requeue(migrated.claim(3), ExitReason.DIED)
    assert seeds(migrated.exhausted()) == [3, 20]


def test_the_history_of_a_cell_is_told_as_before(migrated: QueueUnderTest) -> None:
    attempts = migrated.attempts(make_cell(seed=3).key)
    assert [end_of(attempt).reason for attempt in attempts] == [
        *(ExitReason.COORDINATOR_LOST, ExitReason.DIED, ExitReason.EXPIRED),
        *(ExitReason.NODE_LOST, ExitReason.DIED),
    ]
    assert [end_of(attempt).counts for attempt in attempts] == [False, True, True, False, True]
    [_, _, running] = migrated.attempts(make_cell(seed=2).key)
    assert running.end is None


# --- results ---


def test_a_forced_cell_that_had_a_result_keeps_it_when_it_is_cancelled(
    migrated: QueueUnderTest,
) -> None:
    migrated.cancel("again")
    assert migrated.states("grid")[6] is SUCCEEDED  # queued
    assert migrated.states("grid")[0] is RUNNING  # for `mine`
    assert migrated.cancel("mine") != []
    assert migrated.states("grid")[0] is SUCCEEDED
    errors = migrated.test_errors("grid")
    assert (errors[0], errors[6]) == (5.0, 5.0)
    migrated.submit("other", cells(1, first=40))
    assert migrated.states("other") == [QUEUED]  # it never had one


def test_a_success_that_was_not_tested_is_one(migrated: QueueUnderTest) -> None:
    migrated.submit("forced", cells(1, first=30), force=True)
    assert migrated.states("mine")[2] is QUEUED
    migrated.cancel("forced")
    assert migrated.states("mine")[2] is SUCCEEDED
    assert migrated.test_errors("mine")[2] is None
