"""Disks that are full, away, or have lost or damaged what was on them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.failures import PATIENCE, exit_reasons, rows, running, the_end
from support.refusals import Command, assert_refused
from support.services import make_job, one_node, serve, wait_until
from support.small_disks import fill, small_disk

from stn_cluster import UserError
from stn_cluster.cluster.connect import start
from stn_cluster.cluster.settings import Settings
from stn_cluster.queue.jobs import CellState, Job

QUEUE = Path("state", "queue.sqlite")
Trouble = Callable[[Path], Iterator[str]]


@pytest.fixture(scope="module")
def a_ray() -> Iterator[None]:
    with one_node(2):
        yield


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk of its own."""
    with small_disk(tmp_path / "disk") as place:
        yield place


@contextmanager
def full(store: Path) -> Iterator[str]:
    """No room is left on the store's disk."""
    filler = fill(store)
    yield "No space left on device"
    filler.unlink()


@contextmanager
def away(store: Path) -> Iterator[str]:
    """The store's folder is not there."""
    store.rename(store.with_name("elsewhere"))
    yield "the store's folder is not there"
    assert not store.exists()  # nobody has made a new one
    store.with_name("elsewhere").rename(store)


def three_cells(name: str) -> Job:
    """Each takes 3 s."""
    return make_job(
        name,
        models=["Slow"],
        distortions=["R", "P", "E"],
        plugins=["breaking_plugin"],
        recipe={"name": "smoke", "iterations": 60},
    )


@pytest.mark.parametrize("trouble", [full, pytest.param(away, marks=pytest.mark.chaos)])
def test_a_job_goes_on_by_itself_once_the_store_can_be_written_again(
    a_ray: None, mounted: Path, tmp_path: Path, trouble: Trouble
) -> None:
    store = mounted / "store"
    client = start(
        Settings(store=str(store), state=str(tmp_path / "state"), workers=1, heartbeat_seconds=0.2)
    )
    before = make_job("before", models=["FCN"], distortions=["E"])
    client.submit(before)
    the_end(client, "before")
    job = three_cells("job")
    client.submit(job)
    wait_until(lambda: running(client, "job", step=1), PATIENCE)
    with trouble(store) as cause:
        wait_until(lambda: client.status("job").trouble, PATIENCE)
        told = client.status("job").trouble
        assert told is not None
        assert str(store) in told
        assert cause in told
        # Nothing is begun that could not be stored, and nothing counts that is not.
        after = make_job("after", models=["CNN"], distortions=["E"])
        client.submit(after)
        assert client.status("after").counts == {CellState.QUEUED: 1}
        assert client.status("job").counts.get(CellState.SUCCEEDED, 0) == 0
    for wanted in (job, after):
        assert the_end(client, wanted.job_id).state is CellState.SUCCEEDED
    wait_until(lambda: client.status("job").trouble is None)
    cells = (*before.cells, *job.cells, *after.cells)
    for cell in cells:
        assert len(rows(store, cell.key)) == 1
        assert len(client.attempts(cell.key)) == 1
    client.stop(60)


def test_without_the_queues_file_nothing_is_trained_that_the_store_holds(
    a_ray: None, tmp_path: Path
) -> None:
    client = serve(tmp_path)
    job = make_job("job", models=["FCN", "CNN"], distortions=["E"])
    client.submit(job)
    the_end(client, "job")
    client.stop(60)
    shutil.rmtree(tmp_path / "state")
    client = serve(tmp_path)
    assert client.jobs() == []
    assert client.submit(job)
    assert client.status("job").counts == {CellState.SUCCEEDED: 2}
    assert all(cell.stored for cell in client.cells("job"))
    assert len(rows(tmp_path / "store")) == 2
    client.stop(60)


def test_a_damaged_queue_is_told_in_one_line_and_left_as_it_is(
    a_ray: None, tmp_path: Path, command: Command
) -> None:
    serve(tmp_path).stop(60)
    queue = tmp_path / QUEUE
    content = bytearray(queue.read_bytes())
    content[4096:8192] = os.urandom(4096)
    queue.write_bytes(content)
    with pytest.raises(UserError, match=f"^{queue}: damaged .*: move it and its -wal and -shm"):
        serve(tmp_path)
    (tmp_path / "one.yaml").write_text("recipe: smoke\n")
    places = ("--store", tmp_path / "store", "--state", tmp_path / "state")
    told = command("run", tmp_path / "one.yaml", *places)
    assert_refused(told, str(queue), "damaged", "submit the jobs again")
    assert queue.read_bytes() == content


def test_a_full_state_disk_costs_no_running_cell_its_attempt_and_is_told_until_a_write_succeeds(
    a_ray: None, tmp_path: Path, mounted: Path
) -> None:
    lease = 2.0
    client = start(
        Settings(
            store=str(tmp_path / "store"),
            state=str(mounted / "state"),
            workers=1,
            heartbeat_seconds=0.2,
            lease_seconds=lease,
            checkpoint_seconds=0.3,
        )
    )
    job = make_job(
        "job",
        models=["Slow"],
        distortions=["R"],
        plugins=["breaking_plugin"],
        recipe={"name": "smoke", "iterations": 400},  # 20 s
    )
    client.submit(job)
    wait_until(lambda: running(client, "job", step=10), PATIENCE)
    with full(mounted):
        wait_until(lambda: client.status("job").trouble, PATIENCE)
        began = client.cells("job")[0].step
        until = time.monotonic() + 3 * lease
        while time.monotonic() < until:
            trouble = client.status("job").trouble
            assert trouble is not None, "the trouble was forgotten while it lasted"
            assert "database or disk is full" in trouble
            time.sleep(0.1)
        assert client.cells("job")[0].step > began  # heartbeats went on being heard
    wait_until(lambda: client.status("job").trouble is None, PATIENCE)
    assert the_end(client, "job").state is CellState.SUCCEEDED
    assert exit_reasons(client, job.cells[0].key) == ["succeeded"]
    client.stop(60)
