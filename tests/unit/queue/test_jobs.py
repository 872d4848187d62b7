"""Values of a job: its id, its states, and the line that tells of a failure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import make_cell

from stn_cluster.client.http_client import Client
from stn_cluster.errors import LONGEST_LINE, UserError, error_line
from stn_cluster.queue.jobs import (
    CellName,
    CellState,
    Job,
    JobStatus,
    job_state,
    new_job_id,
)

FCN, CNN = make_cell("FCN"), make_cell("CNN")
some_counts = st.dictionaries(st.sampled_from(CellState), st.integers(0, 5))


# --- what is submitted ---


@pytest.mark.parametrize("job_id", ["a", "A-b_c.9", "x" * 64, "0", "a..", "9-"])
def test_an_id_is_1_to_64_letters_digits_dots_underscores_and_dashes(job_id: str) -> None:
    assert Job(job_id, (FCN,)).job_id == job_id


NO_ID = [
    "",
    "x" * 65,
    "a b",
    "a/b",
    "ä",
    "a\n",
    "a:b",
    " a",
    ".",
    "..",
    "-rf",
    "_a",
    ".a",
    "/",
    "a%2f",
]


@pytest.mark.parametrize("job_id", NO_ID)
def test_any_other_id_is_refused_and_named(job_id: str) -> None:
    with pytest.raises(UserError, match=r"job id .*: 1 to 64 letters") as caught:
        Job(job_id, (FCN,))
    assert repr(job_id) in str(caught.value)


@pytest.mark.parametrize("job_id", [job_id for job_id in NO_ID if job_id])
def test_a_client_asks_no_server_about_what_is_no_id(job_id: str) -> None:
    """'..' would be another resource."""
    with Client("http://127.0.0.1:1", patience=0) as client:
        for call in (client.status, client.cancel, client.retry):
            with pytest.raises(UserError, match=r"job id .*: 1 to 64 letters"):
                call(job_id)
        with pytest.raises(UserError, match="job id"):
            list(client.cells(job_id))
        with pytest.raises(UserError, match="job id"):
            next(client.watch(job_id))
        with pytest.raises(UserError, match="job id"):
            client.submit({}, job_id=job_id)
        with pytest.raises(UserError, match="job id"):
            client.table(job_id=job_id)


@pytest.mark.parametrize("priority", [-(2**31), 0, 2**31 - 1])
def test_a_priority_fits_in_32_bits(priority: int) -> None:
    assert Job("j", (FCN,), priority=priority).priority == priority


@pytest.mark.parametrize("priority", [-(2**31) - 1, 2**31, 10**30])
def test_any_other_priority_is_refused(priority: int) -> None:
    with pytest.raises(UserError, match=f"job j: priority {priority} is out of range"):
        Job("j", (FCN,), priority=priority)


def test_a_job_has_cells_and_none_of_them_twice() -> None:
    with pytest.raises(UserError, match="job j: no cells"):
        Job("j", ())
    again = FCN.model_copy(update={"recipe": "another name for it"})
    with pytest.raises(UserError, match="job j: a cell is in it twice"):
        Job("j", (FCN, CNN, again))


def test_two_jobs_that_ask_for_the_same_have_one_digest_whatever_their_ids() -> None:
    job = Job("one", (FCN, CNN), config='{"a": 1}')
    assert Job("two", (FCN, CNN), config='{"a": 1}').digest == job.digest
    renamed = FCN.model_copy(update={"recipe": "mine"})
    others = [
        Job("one", (CNN, FCN), config='{"a": 1}'),
        Job("one", (FCN,), config='{"a": 1}'),
        Job("one", (renamed, CNN), config='{"a": 1}'),
        Job("one", (FCN, CNN), config='{"a": 2}'),
        Job("one", (FCN, CNN), config='{"a": 1}', force=True),
        Job("one", (FCN, CNN), config='{"a": 1}', priority=1),
    ]
    assert len({job.digest, *(other.digest for other in others)}) == 1 + len(others)


# --- states ---


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ("queued queued", "queued"),
        ("queued running", "running"),
        ("queued succeeded", "running"),
        ("queued failed", "running"),
        ("running cancelled", "running"),
        ("running", "running"),
        ("succeeded succeeded", "succeeded"),
        ("succeeded failed", "failed"),
        ("failed cancelled", "failed"),
        ("succeeded cancelled", "cancelled"),
    ],
)
def test_a_jobs_state_is_that_of_its_cells_together(states: str, state: str) -> None:
    counts = {CellState(name): states.split().count(name) for name in states.split()}
    assert job_state(counts, cancelled=False) == state


@settings(derandomize=True)
@given(counts=some_counts)
def test_a_job_has_ended_when_nothing_is_queued_or_running(counts: dict[CellState, int]) -> None:
    unfinished = any(counts.get(state) for state in (CellState.QUEUED, CellState.RUNNING))
    status = JobStatus("j", job_state(counts, cancelled=False), counts)
    assert status.ended is not unfinished
    assert status.total == sum(counts.values())


@settings(derandomize=True)
@given(counts=some_counts)
def test_a_cancelled_job_is_cancelled_whatever_becomes_of_its_cells(
    counts: dict[CellState, int],
) -> None:
    assert job_state(counts, cancelled=True) is CellState.CANCELLED
    assert JobStatus("j", CellState.CANCELLED, counts).ended


def test_the_ended_states_of_a_cell_are_succeeded_failed_and_cancelled() -> None:
    ended = {state for state in CellState if state.ended}
    assert ended == {CellState.SUCCEEDED, CellState.FAILED, CellState.CANCELLED}


def test_a_cell_is_known_by_its_name() -> None:
    cell = make_cell(seed=3)
    name = CellName.of(cell)
    assert (name.key, name.label, name.iterations) == (cell.key, cell.label, 8)


# --- words ---


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("Traceback ...\n  File\nValueError: bad\n\n", "ValueError: bad"),
        ("  one  ", "one"),
        ("", "unknown"),
        ("\n \n", "unknown"),
        ("ValueError: \x1b[31mred\x00", r"ValueError: \x1b[31mred\x00"),
    ],
)
def test_the_error_line_of_a_traceback_says_what_went_wrong(error: str, line: str) -> None:
    assert error_line(error) == line


def test_a_job_id_begins_with_its_configs_name_and_is_never_the_same_twice() -> None:
    ids = {new_job_id("quick-start_1.0") for _ in range(20)}
    assert len(ids) == 20
    shape = r"quick-start_1\.0-\d{8}-\d{6}-[0-9a-f]{6}"
    assert all(re.fullmatch(shape, job_id) for job_id in ids)


def test_a_job_id_has_the_shape_of_an_id_however_long_the_configs_name() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", new_job_id("x" * 64))
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", new_job_id("a+b"))


def test_the_error_line_is_not_a_whole_file() -> None:
    line = error_line(f"ValueError: {'x' * 1_000_000}")
    assert line.startswith("ValueError: xxx")
    assert len(line) == LONGEST_LINE
