"""A job's values: its id, its states, and what a failure is called."""

from __future__ import annotations

import re

import pytest
from records import make_cell

from stn_cluster.cluster.job import CellStatus, JobStatus, State, done, new_job_id, reason


def status(*states: State) -> JobStatus:
    cells = tuple(CellStatus(make_cell(seed=i), state) for i, state in enumerate(states))
    return JobStatus("job-1", cells)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("Traceback ...\n  File\nValueError: bad\n\n", "ValueError: bad"),
        ("  one  ", "one"),
        ("", "unknown"),
        ("\n \n", "unknown"),
    ],
)
def test_the_line_of_a_traceback_that_says_what_went_wrong(error: str, line: str) -> None:
    assert reason(error) == line


def test_a_job_id_begins_with_its_configs_name_and_is_never_the_same_twice() -> None:
    ids = {new_job_id("quick-start_1.0") for _ in range(20)}
    assert len(ids) == 20
    shape = r"quick-start_1\.0-\d{8}-\d{6}-[0-9a-f]{4}"
    assert all(re.fullmatch(shape, job_id) for job_id in ids)


def test_a_job_id_has_the_shape_of_an_id_however_long_the_configs_name() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", new_job_id("x" * 64))
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", new_job_id("a+b"))


def test_a_job_has_ended_when_nothing_is_queued_or_running() -> None:
    assert status(State.SUCCEEDED, State.FAILED).ended
    assert not status(State.SUCCEEDED, State.QUEUED).ended
    assert not status(State.SUCCEEDED, State.RUNNING).ended
    assert [state for state in State if done(state)] == [State.SUCCEEDED, State.FAILED]
    assert status(State.FAILED, State.QUEUED, State.FAILED).counts[State.FAILED] == 2


def test_a_cell_in_another_state_keeps_what_else_is_known_of_it() -> None:
    cell = CellStatus(make_cell(), iterations=8).now(State.RUNNING, step=3)
    assert (cell.state, cell.step, cell.iterations) == (State.RUNNING, 3, 8)
