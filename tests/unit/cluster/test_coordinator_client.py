"""Coordinator client: it waits for a coordinator that is away, and follows a job to its end.

Calls go to a coordinator in a thread of this process; what Ray raises is raised as Ray does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayError,
    RayTaskError,
)
from support.coordinators import LocalCoordinator
from support.queues import cells

import stn_cluster
from stn_cluster.cluster import coordinator as coordinator_module
from stn_cluster.cluster import coordinator_client as module
from stn_cluster.cluster import scheduler as scheduler_module
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.errors import ConflictError, EndedError, NotFoundError, ServiceError
from stn_cluster.queue.jobs import CellState, Job, JobStatus, Page

T = TypeVar("T")
UNAVAILABLE = ActorUnavailableError("the network", b"x" * 16)


# --- errors of Ray ---


class ScriptedClient(CoordinatorClient):
    """Its calls come to these answers, one after the other; errors are raised."""

    def __init__(self, *answers: object, patience: float = 60.0) -> None:
        super().__init__(actor=None, patience=patience)
        self.answers = list(answers)
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def _call(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, arguments))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_coordinator_that_is_away_is_asked_again() -> None:
    client = ScriptedClient(UNAVAILABLE, UNAVAILABLE, 2)
    assert client.retry("j") == 2
    assert client.calls == [("retry", ("j",))] * 3


def test_a_coordinator_that_stays_away_does_not_answer() -> None:
    with pytest.raises(ServiceError, match=r"^the coordinator does not answer$") as caught:
        ScriptedClient(UNAVAILABLE, patience=0.0).jobs()
    assert not isinstance(caught.value, EndedError)


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (GetTimeoutError("late"), ServiceError, "the coordinator does not answer in time"),
        (ActorDiedError(), EndedError, "the service has ended: The actor died unexpectedly"),
        (
            RayTaskError("status", "Traceback ...", NotFoundError("unknown job 'j'")),
            NotFoundError,
            "^unknown job 'j'$",
        ),
        (RayTaskError("status", "KeyError: 'a'", KeyError("a")), RayTaskError, "KeyError: 'a'"),
    ],
)
def test_other_errors_of_ray_are_raised_at_once_as_people_can_read_them(
    error: RayError, raised: type[Exception], text: str
) -> None:
    client = ScriptedClient(error)
    with pytest.raises(raised, match=text):
        client.status("j")
    assert len(client.calls) == 1


# --- a coordinator in a thread ---


class ThreadedCoordinator:
    """A coordinator on an event loop of its own, in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.coordinator = self.run(self._make())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something on its loop, and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self.run(self.coordinator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _make(self) -> LocalCoordinator:
        return LocalCoordinator(self._folder, workers=1)


class ThreadedClient(CoordinatorClient):
    """A client of a coordinator in a thread."""

    def __init__(self, threaded: ThreadedCoordinator) -> None:
        super().__init__(actor=None)
        self._threaded = threaded
        self.pages: list[Page] = []  # that were asked for

    def _call(self, method: str, *arguments: Any) -> Any:
        self.pages += [argument for argument in arguments if isinstance(argument, Page)]
        return self._threaded.run(getattr(self._threaded.coordinator, method)(*arguments))


@pytest.fixture
def threaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedCoordinator]:
    monkeypatch.setattr(coordinator_module, "END_SECONDS", 1000.0)
    monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scheduler_module, "STOP_SECONDS", 0.1)
    made = ThreadedCoordinator(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(threaded: ThreadedCoordinator) -> ThreadedClient:
    return ThreadedClient(threaded)


def finish_next(threaded: ThreadedCoordinator) -> None:
    """Has the worker end its pack."""
    coordinator = threaded.coordinator
    threaded.run(coordinator.finish(threaded.run(coordinator.worker())))


def test_a_client_asks_for_all_that_a_coordinator_tells(
    threaded: ThreadedCoordinator, client: ThreadedClient
) -> None:
    assert client.version() == stn_cluster.__version__
    assert client.settings() == threaded.coordinator.settings
    job = Job("j", cells(2))
    assert (client.submit(job), client.submit(job)) == (True, False)
    with pytest.raises(ConflictError):
        client.submit(Job("j", cells(1)))
    finish_next(threaded)
    assert [status.job_id for status in client.jobs()] == ["j"]
    first, second = client.cells("j")
    [other] = client.cells("j", Page(offset=1))
    assert other.cell == second.cell
    [(attempt, log)] = client.logs(first.cell.label)
    assert attempt.cell.key == first.cell.key
    assert "trained and tested" in log
    assert client.metrics().totals.jobs == 1
    client.cancel("j")
    assert client.status("j").state is CellState.CANCELLED
    assert client.retry("j") >= 1


@pytest.mark.parametrize("page", [2, 3, 5000])
def test_watching_yields_all_cells_page_by_page_and_then_what_changes_until_the_end(
    threaded: ThreadedCoordinator,
    client: ThreadedClient,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    job = Job("j", cells(6))
    client.submit(job)
    keys = [cell.key for cell in job.cells]
    seen: list[JobStatus] = []
    for status in client.watch("j", poll_seconds=0.01):
        seen.append(status)
        assert [cell.cell.key for cell in status.cells] == keys  # in the job's order
        if len(seen) <= len(keys):
            finish_next(threaded)
    ended = [sum(cell.state.ended for cell in status.cells) for status in seen]
    assert ended == sorted(ended)
    assert ended[-1] == 6
    assert [status.ended for status in seen] == [False] * (len(seen) - 1) + [True]
    assert {cell.state for cell in seen[-1].cells} == {CellState.SUCCEEDED}
    first = [asked for asked in client.pages if asked.since < 0]
    assert [asked.offset for asked in first] == list(range(0, 7 if page <= 6 else 1, page))
    later = [asked.since for asked in client.pages if asked.since >= 0]
    assert len(later) == len(seen) - 1  # one page a look
    assert later == sorted(later)


def test_watching_a_job_that_has_ended_yields_it_once(
    threaded: ThreadedCoordinator, client: ThreadedClient
) -> None:
    client.submit(Job("j", cells(1)))
    finish_next(threaded)
    while not client.status("j").ended:
        pass
    [status] = client.watch("j")
    assert [cell.state for cell in status.cells] == [CellState.SUCCEEDED]
