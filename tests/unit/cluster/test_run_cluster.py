"""A job on a cluster: whoever started the coordinator stops it, and nobody else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.queues import cells

from stn_cluster.cluster import run_cluster as module
from stn_cluster.cluster.run_cluster import run_on_cluster
from stn_cluster.cluster.settings import Settings
from stn_cluster.errors import EndedError, UserError
from stn_cluster.queue.jobs import CellState, Job, JobStatus

DONE = JobStatus("j", CellState.SUCCEEDED, {CellState.SUCCEEDED: 1})


class Coordinator:
    """As its client sees it."""

    def __init__(self, error: UserError | None = None) -> None:
        self.error = error
        self.stopped = 0

    def settings(self) -> Settings:
        if self.error:
            raise self.error
        return settings(Path())

    def submit(self, job: Job) -> bool:
        return True

    def status(self, job_id: str) -> JobStatus:
        return DONE

    def watch(self, job_id: str) -> Iterator[JobStatus]:
        yield DONE

    def stop(self, timeout: float) -> None:
        self.stopped += 1


def settings(folder: Path) -> Settings:
    return Settings(store=str(folder / "store"), state=str(folder / "state"))


def run(monkeypatch: pytest.MonkeyPatch, *found: tuple[Coordinator, bool]) -> list[JobStatus]:
    """Runs a job; each look for the store's coordinator comes to the next of these."""
    left = list(found)
    monkeypatch.setattr(module, "find_or_start", lambda settings: left.pop(0))
    monkeypatch.setattr(module, "GONE_SECONDS", 0.0)
    return list(run_on_cluster(Job("j", cells(1)), settings(Path())))


@pytest.mark.parametrize("started_here", [True, False])
def test_the_coordinator_is_stopped_by_whoever_started_it(
    monkeypatch: pytest.MonkeyPatch, started_here: bool
) -> None:
    coordinator = Coordinator()
    assert run(monkeypatch, (coordinator, started_here)) == [DONE]
    assert coordinator.stopped == started_here


def test_where_the_one_that_started_it_stops_it_the_next_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping, next_one = Coordinator(EndedError("the service has ended")), Coordinator()
    assert run(monkeypatch, (stopping, False), (next_one, True)) == [DONE]
    assert (stopping.stopped, next_one.stopped) == (0, 1)


@pytest.mark.parametrize("error", [EndedError("it has ended"), UserError("the store is torn")])
def test_one_that_was_started_here_and_cannot_serve_is_stopped_and_its_error_told(
    monkeypatch: pytest.MonkeyPatch, error: UserError
) -> None:
    coordinator = Coordinator(error)
    with pytest.raises(UserError, match=str(error)):
        run(monkeypatch, (coordinator, True))
    assert coordinator.stopped == 1
