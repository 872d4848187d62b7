"""A task of the coordinator fails: its process ends and starts again, and no cell pays for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from support.failures import PATIENCE, counts, exit_reasons, running, the_end
from support.faulty_services import Faulty
from support.services import kill, make_job, one_node, processes, wait_until

from stn_cluster.cluster import connect
from stn_cluster.cluster.connect import find, start
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, ServiceError, UserError
from stn_cluster.queue.jobs import CellState, Job

TOLD = "plan workers: KeyError: 'a fault of our own'"


@pytest.fixture(autouse=True, scope="module")
def a_ray() -> Iterator[None]:
    with one_node(2):
        yield


def settings(folder: Path) -> Settings:
    return Settings(
        store=str(folder / "store"),
        state=str(folder / "state"),
        workers=1,
        heartbeat_seconds=0.2,
        lease_seconds=5.0,
        checkpoint_seconds=0.2,
    )


def slow_job(iterations: int = 120) -> Job:
    """A cell whose steps take 0.05 s each."""
    return make_job(
        "job",
        models=["Slow"],
        distortions=["R"],
        plugins=["breaking_plugin"],
        recipe={"name": "smoke", "iterations": iterations},
    )


def break_down(folder: Path, times: int) -> None:
    (folder / "state" / "faults").write_text(str(times))


def is_running(store: str) -> bool:
    try:
        find(store)
    except UserError:
        return False
    return True


def logs() -> str:
    """Logs of all processes of this Ray."""
    folder = Path(ray._private.worker._global_node.get_logs_dir_path())
    return "".join(path.read_text(errors="replace") for path in folder.glob("worker-*.err"))


def test_a_failed_task_is_named_and_its_process_starts_again_without_a_cell_paying_for_it(
    tmp_path: Path,
) -> None:
    client = start(settings(tmp_path), Faulty)
    job = slow_job()
    client.submit(job)
    wait_until(lambda: running(client, "job", step=20), PATIENCE)
    [before] = processes("Faulty")
    break_down(tmp_path, times=1)
    wait_until(lambda: processes("Faulty") not in ([], [before]), PATIENCE)
    assert the_end(client, "job").state is CellState.SUCCEEDED
    key = job.cells[0].key
    assert exit_reasons(client, key) == ["coordinator lost", "succeeded"]
    assert not any(counts(attempt) for attempt in client.attempts(key))
    assert "the coordinator ends: plan workers failed" in logs()
    client.stop(60)


def test_a_task_that_fails_again_and_again_ends_the_service_with_the_error_and_it_can_be_revived(
    tmp_path: Path,
) -> None:
    client = start(settings(tmp_path), Faulty)
    job = slow_job()
    client.submit(job)
    wait_until(lambda: running(client, "job", step=20), PATIENCE)
    break_down(tmp_path, times=1000)
    with pytest.raises(EndedError, match="failed 3 times within 60 seconds") as caught:
        the_end(client, "job")
    assert TOLD in str(caught.value)
    wait_until(lambda: not is_running(settings(tmp_path).store), PATIENCE)
    (tmp_path / "state" / "faults").unlink()
    again = start(settings(tmp_path), Faulty)
    assert the_end(again, "job").state is CellState.SUCCEEDED
    history = again.attempts(job.cells[0].key)
    assert [attempt.end.reason for attempt in history if attempt.end][-1] == "succeeded"
    assert not any(counts(attempt) for attempt in history)
    again.stop(60)


class Impatient(CoordinatorClient):
    """Does not wait for a coordinator, which dies as soon as it is asked for its settings."""

    def __init__(self, actor: Any, patience: float = 0.5, timeout: float | None = None) -> None:
        super().__init__(actor, patience, timeout)

    def settings(self) -> Settings:
        kill(processes("Coordinator")[0])
        time.sleep(0.3)
        return super().settings()


@pytest.mark.chaos
def test_a_coordinator_that_is_being_restarted_is_not_ended_by_whoever_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(settings(tmp_path))
    client.submit(slow_job(40))
    with monkeypatch.context() as impatience:
        impatience.setattr(connect, "CoordinatorClient", Impatient)
        with pytest.raises(ServiceError, match="the coordinator does not answer"):
            start(settings(tmp_path))
    assert the_end(client, "job").state is CellState.SUCCEEDED
    client.stop(60)
