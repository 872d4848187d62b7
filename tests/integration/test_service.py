"""The service as its client sees it: what is asked of it, and what comes of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from support.commands import COMMAND
from support.failures import PATIENCE, alive, counts, exit_reasons, rows, running, the_end
from support.services import make_job, one_node, processes, serve, wait_until

from stn_cluster import UserError
from stn_cluster.cluster.connect import start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.make_jobs import rerun_job
from stn_cluster.queue.jobs import CellName, CellState, Job, Page
from stn_cluster.store import Store, Verification, add_verifications, compaction

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
LONG = {"name": "smoke", "iterations": 400}  # 20 s of `Slow`
SHORT = {"name": "smoke", "iterations": 60}  # and 3 s
SEEDS = count(1)  # a test's cells are its own

OTHER_PROCESS = """
import pickle, sys
import ray
from stn_cluster.cluster import connect as service

address, store, job = sys.argv[1:]
ray.init(address=address, log_to_driver=False, logging_level="error")
client = service.find(store)
print(client.submit(pickle.load(open(job, "rb"))))
service.__version__ = "0.0.0"
try:
    service.find(store)
except service.UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[CoordinatorClient]:
    """A service with two workers that is in nobody's way."""
    with one_node(2):
        started = serve(folder, cancel_grace_seconds=1.0)
        yield started
        started.stop(60)


def job_of(*models: str, name: str = "", **options: Any) -> Job:
    """A job of these models' cells on a stream of its own."""
    seed = options.pop("seed", None) or next(SEEDS)
    options.setdefault("distortions", ["E"])
    return make_job(
        name or f"job-{seed}",
        models=models,
        seeds=[seed],
        plugins=["breaking_plugin"],
        **options,
    )


def log_of(client: CoordinatorClient, key: str) -> str:
    """The log of a cell's newest attempt so far."""
    return next((text for _, text in reversed(list(client.logs(key)))), "")


def test_the_same_submission_a_hundred_times_at_once_is_one_job(
    client: CoordinatorClient, folder: Path, tmp_path: Path
) -> None:
    job = job_of("CNN")
    with ThreadPoolExecutor(100) as threads:
        new = list(threads.map(lambda _: client.submit(job), range(100)))
    assert sum(new) == 1
    assert [status.job_id for status in client.jobs()].count(job.job_id) == 1
    the_end(client, job.job_id)
    assert not client.submit(job)
    assert len(client.attempts(job.cells[0].key)) == 1

    # From another process too; and one of another version is refused.
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, address, folder / "store", tmp_path / "job"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    again, refused = done.stdout.splitlines()
    assert again == "False"
    assert "the coordinator runs stn-cluster" in refused
    assert "this is 0.0.0" in refused


def test_another_job_under_a_taken_id_is_refused(client: CoordinatorClient) -> None:
    job = job_of("CNN")
    assert client.submit(job)
    for other in (job_of("CNN", name=job.job_id), replace(job, priority=1)):
        with pytest.raises(UserError, match=f"job id '{job.job_id}' is already used"):
            client.submit(other)
    assert the_end(client, job.job_id).counts == {CellState.SUCCEEDED: 1}


def test_an_unknown_job_or_cell_is_told_with_what_there_is(client: CoordinatorClient) -> None:
    client.submit(job_of("CNN", name="known"))
    with pytest.raises(UserError, match="unknown job 'knwon': did you mean 'known'"):
        client.status("knwon")
    with pytest.raises(UserError, match="give a label, as in ST-CNN/tps/RTS/seed0, or a key"):
        client.attempts("nothing")


def test_cells_come_in_pages_and_by_state_and_a_job_is_watched_to_its_end(
    client: CoordinatorClient,
) -> None:
    job = job_of("FCN", "CNN", "Raises", "Diverges", "Prints")
    assert client.submit(job)
    seen = list(client.watch(job.job_id, poll_seconds=0.05))
    assert [status.ended for status in seen] == [False] * (len(seen) - 1) + [True]
    steps = [[cell.step for cell in status.cells if cell.error is None] for status in seen]
    assert steps[-1] == [8, 8, 8]
    assert seen[-1].state is CellState.FAILED
    assert seen[-1].counts == {CellState.SUCCEEDED: 3, CellState.FAILED: 2}
    assert seen[-1].total == 5
    assert [cell.cell for cell in seen[-1].cells] == [CellName.of(cell) for cell in job.cells]

    whole = client.cells(job.job_id)
    pages = [client.cells(job.job_id, Page(offset, 2)) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert sum(pages, ()) == whole
    failed = client.cells(job.job_id, Page(states=(CellState.FAILED,)))
    assert [cell.cell.model for cell in failed] == ["Raises", "Diverges"]
    assert failed[0].error == "RuntimeError: broken on purpose"
    assert client.cells(job.job_id, Page(states=(CellState.QUEUED, CellState.RUNNING))) == ()


def test_logs_tell_of_every_attempt_what_its_cell_said_and_how_it_ended(
    client: CoordinatorClient,
) -> None:
    job = job_of("Prints", "Raises")
    client.submit(job)
    the_end(client, job.job_id)
    prints, raises = job.cells
    [(attempt, text)] = client.logs(prints.label)
    assert list(client.logs(prints.key)) == [(attempt, text)]
    first, *said, last = text.splitlines()
    assert f"{prints.label} (digits, smoke) for job {job.job_id} on {attempt.worker.host}" in first
    assert f"process {attempt.worker.process}" in first
    assert any(line.endswith(" forward 3") for line in said)
    assert last.endswith(" trained and tested")
    [(_, text)] = client.logs(raises.label)
    assert "Traceback (most recent call last)" in text
    assert text.rstrip().endswith("RuntimeError: broken on purpose")
    assert "trained and tested" not in text


def test_cancel_stops_running_cells_and_retry_goes_on_from_their_checkpoints(
    client: CoordinatorClient,
) -> None:
    job = job_of("Slow", distortions=["R", "P", "E"], recipe=LONG)
    client.submit(job)
    wait_until(lambda: len(running(client, job.job_id, step=20)) == 2, PATIENCE)
    begun = running(client, job.job_id)
    client.cancel(job.job_id)
    status = client.status(job.job_id)
    assert status.state is CellState.CANCELLED
    assert status.counts == {CellState.CANCELLED: 3}
    keys = {attempt.cell.key for attempt in begun}
    assert [exit_reasons(client, key) for key in keys] == [["cancelled"]] * 2

    # The two workers have come to the end of their step, and are there for other work.
    other = job_of("FCN", "CNN")
    client.submit(other)
    the_end(client, other.job_id)
    used = {client.attempts(cell.key)[-1].worker.process for cell in other.cells}
    assert used <= {attempt.worker.process for attempt in begun}

    assert client.retry(job.job_id) == 3
    assert client.status(job.job_id).state in (CellState.QUEUED, CellState.RUNNING)
    wait_until(lambda: all(len(client.attempts(key)) == 2 for key in keys), PATIENCE)
    for attempt in begun:
        wait_until(lambda: "resumes from step" in log_of(client, attempt.cell.key), PATIENCE)  # noqa: B023
        assert f" of {attempt.id}\n" in log_of(client, attempt.cell.key)
    client.cancel(job.job_id)


def test_a_cancelled_cell_that_is_stuck_is_killed_and_its_pack_mates_run_again_uncharged(
    client: CoordinatorClient,
) -> None:
    seed = next(SEEDS)
    names = ("Sticks", "E"), ("Slow", "E"), *product(("Linear", "Prints"), ("R", "P:xy", "E"))
    stuck = make_job(
        "stuck",
        cells=[{"model": model, "distortion": d, "seed": seed} for model, d in names],
        plugins=["breaking_plugin"],
    )
    mates = replace(stuck, job_id="mates", cells=stuck.cells[1:])
    assert client.submit(stuck)
    assert client.submit(mates)
    wait_until(lambda: "sticks here" in log_of(client, stuck.cells[0].key), PATIENCE)
    [attempt] = client.attempts(stuck.cells[0].key)
    assert attempt.pack_size == 2
    client.cancel("stuck")
    assert client.status("mates").counts.get(CellState.CANCELLED) is None
    wait_until(lambda: not alive(attempt.worker.process), 20)  # it would stick for a minute
    assert the_end(client, "mates").counts == {CellState.SUCCEEDED: 7}
    assert exit_reasons(client, attempt.cell.key) == ["cancelled"]
    assert exit_reasons(client, stuck.cells[1].key) == ["interrupted", "succeeded"]
    histories = [client.attempts(cell.key) for cell in mates.cells]
    assert not any(counts(attempt) for history in histories for attempt in history)


def test_two_jobs_that_share_cells_train_them_once_and_cancelling_one_leaves_the_other_whole(
    client: CoordinatorClient, folder: Path
) -> None:
    six = job_of("Slow", "Linear", "Prints", distortions=["R", "E"], recipe=SHORT)
    one = replace(six, job_id="one", cells=six.cells[:4])
    two = replace(six, job_id="two", cells=six.cells[2:])
    client.submit(one)
    client.submit(two)
    wait_until(lambda: running(client, "one"), PATIENCE)
    client.cancel("one")
    assert the_end(client, "two").counts == {CellState.SUCCEEDED: 4}
    assert client.status("one").state is CellState.CANCELLED
    for cell in two.cells:
        assert exit_reasons(client, cell.key) == ["succeeded"]
        assert len(rows(folder / "store", cell.key)) == 1


def test_the_job_of_higher_priority_goes_first_and_then_the_older_one(
    client: CoordinatorClient,
) -> None:
    blocker = job_of("Slow", distortions=["R", "E"], recipe=LONG)
    client.submit(blocker)
    wait_until(lambda: len(running(client, blocker.job_id)) == 2, PATIENCE)
    low, later = (job_of("Linear", distortions=["R", "E"]) for _ in range(2))
    high = job_of("Linear", distortions=["R", "E"], priority=5)
    for job in (low, later, high):
        client.submit(job)
    client.cancel(blocker.job_id)
    the_end(client, later.job_id)
    began = [
        [client.attempts(cell.key)[0].started_at for cell in job.cells]
        for job in (high, low, later)
    ]
    assert max(began[0]) < min(began[1])
    assert max(began[1]) < min(began[2])


def test_rerun_trains_what_matches_anew_and_keeps_the_history(
    client: CoordinatorClient, folder: Path
) -> None:
    job = job_of("Linear", "Prints")
    client.submit(job)
    the_end(client, job.job_id)
    chosen, other = job.cells
    again = rerun_job(str(folder / "store"), {"seed": chosen.seed, "model": "Linear"})
    client.submit(again)
    assert [cell.key for cell in again.cells] == [chosen.key]
    assert the_end(client, again.job_id).state is CellState.SUCCEEDED
    history = rows(folder / "store", chosen.key)
    assert list(history["job_id"]) == [job.job_id, again.job_id]
    assert history["train_loss"].nunique() == 1
    assert exit_reasons(client, chosen.key) == ["succeeded", "succeeded"]
    assert len(rows(folder / "store", other.key)) == 1
    with pytest.raises(UserError, match="no cell matches model=Lineer"):
        rerun_job(str(folder / "store"), {"model": "Lineer"})


def test_a_second_service_on_the_same_store_or_state_is_refused_from_wherever_it_comes(
    client: CoordinatorClient, folder: Path, tmp_path: Path
) -> None:
    store, state = folder / "store", folder / "state"
    elsewhere = subprocess.Popen(  # on a Ray of its own
        [COMMAND, "run", SMOKE, "--store", store, "--state", tmp_path / "state"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    settings = client.settings()
    with pytest.raises(UserError, match=f"^{store}: is served already, with its state in {state}"):
        start(replace(settings, state=str(tmp_path / "state")))
    with pytest.raises(UserError, match=f"^another service holds this state folder: {state}$"):
        start(replace(settings, store=str(tmp_path / "store")))
    out, errors = elsewhere.communicate(timeout=PATIENCE)
    assert (elsewhere.returncode, out) == (2, "")
    assert errors == f"stn-cluster: another service holds this store: {store}\n"
    assert client.settings() == settings  # the first one is none the worse


def test_the_coordinator_never_imports_torch(client: CoordinatorClient) -> None:
    """It takes seconds in which nobody would be answered, and its memory."""
    job = job_of("FCN", name="light")
    client.submit(job)
    *_, status = client.watch(job.job_id)
    assert status.state is CellState.SUCCEEDED
    [process] = processes("Coordinator")
    loaded = Path(f"/proc/{process}/maps").read_text()
    assert "_raylet" in loaded
    assert "libtorch" not in loaded


def test_a_service_without_work_compacts_its_store(client: CoordinatorClient, folder: Path) -> None:
    store = Store.open(folder / "store")
    now = datetime.now(UTC)
    for seed in range(compaction.FEWEST_FILES):  # as by `stn-cluster verify`, meanwhile
        one = Verification(
            f"{seed:016x}", "a", "cpu", "2.11", 3, 0, identical=True, verified_at=now
        )
        add_verifications(store, [one])
    job = job_of("CNN")
    client.submit(job)
    the_end(client, job.job_id)
    results = store.results(latest=False)
    files = folder / "store" / "verifications"
    wait_until(lambda: len(list(files.glob("2*.parquet"))) == 1)
    assert store.read("verifications").num_rows == compaction.FEWEST_FILES
    pd.testing.assert_frame_equal(store.results(latest=False), results)
    job = job_of("CNN")
    client.submit(job)
    assert the_end(client, job.job_id).counts == {CellState.SUCCEEDED: 1}
