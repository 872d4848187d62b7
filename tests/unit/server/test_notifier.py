"""Deliveries from a real queue: each target by itself, at least once, until it is taken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from support.failures import alive
from support.queues import QueueUnderTest, cells
from support.receivers import Receiver, receiver
from support.services import wait_until

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.errors import ServiceError, StoreError
from stn_cluster.queue import notifications
from stn_cluster.queue.database import connect
from stn_cluster.queue.notifications import Given, Notification
from stn_cluster.server import notifier
from stn_cluster.server.notifier import complete, notifying
from stn_cluster.server.notify_targets import Target, make_targets


class Queue:
    """The queue's part of a coordinator's client, which is away now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failures = 0
        self.unnoted = 0  # outcomes that cannot be noted, as on a full disk: that many
        self.looks = 0

    def with_patience(self, patience: float, timeout: float) -> Queue:
        return self

    def notifications(self, target: str, limit: int) -> list[Notification]:
        self.looks += 1
        return self._call(lambda db: notifications.due(db, target, limit))

    def settle(self, ends: Sequence[Given]) -> list[int]:
        if self.unnoted:
            self.unnoted -= 1
            raise StoreError("queue.sqlite: cannot be written, nothing was changed: disk is full")
        return self._call(lambda db: notifications.settle(db, ends))

    def _call(self, call: Callable[[Any], Any]) -> Any:
        if self.failures:
            self.failures -= 1
            raise ServiceError("the coordinator does not answer")
        db = connect(self._folder)
        try:
            return call(db)
        finally:
            db.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(notifications, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def taking() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def begin(queue: QueueUnderTest, targets: Sequence[Target]) -> Any:
    client = cast(CoordinatorClient, Queue(queue.folder))
    return notifying(client, targets, "/a/store", "http://0.0.0.0:8267")


def end_jobs(queue: QueueUnderTest, *job_ids: str) -> None:
    for number, job_id in enumerate(job_ids):
        queue.submit(job_id, cells(1, first=number))
        queue.succeed(*queue.claim_all())


def jobs(server: Receiver) -> list[str]:
    return [body["job"]["job_id"] for body in server.bodies]


def left(queue: QueueUnderTest) -> int:
    return int(queue.db.execute("SELECT count(*) FROM notifications").fetchone()[0])


def test_what_is_due_is_delivered_with_store_and_link(
    queue: QueueUnderTest, taking: Receiver, tmp_path: Path
) -> None:
    file = tmp_path / "taken"
    code = f"import sys; open({str(file)!r}, 'a').write(sys.stdin.read() + chr(10))"
    targets = make_targets([taking.url], [f'{sys.executable} -c "{code}"'], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "before")
    with begin(queue, targets):
        end_jobs(queue, "before", "after")
        wait_until(lambda: left(queue) == 0, 30, every=0.02)
    assert jobs(taking) == ["before", "after"]
    body = taking.bodies[0]
    assert body["store"] == "/a/store"
    assert body["link"].endswith(":8267/#/matrix?job=before")
    assert "0.0.0.0" not in body["link"]
    assert file.read_text().splitlines() == [body.decode() for body, _ in taking.came]


def test_a_target_that_is_dead_or_slow_holds_up_nobody_and_gets_it_later(
    queue: QueueUnderTest, taking: Receiver
) -> None:
    with receiver() as slow, receiver() as dead:
        slow.waits, dead.status = True, 503
        targets = make_targets([slow.url, dead.url, taking.url], [], {})
        notifications.set_targets(queue.db, [target.digest for target in targets])
        end_jobs(queue, "a", "b")
        with begin(queue, targets):
            wait_until(lambda: len(taking.came) == 2, 30, every=0.02)
            wait_until(lambda: len(dead.came) > 3, 30, every=0.02)
            dead.status = 200
            wait_until(lambda: left(queue) == 2, 30, every=0.02)  # those of the slow one
            slow.silent.set()
            wait_until(lambda: left(queue) == 0, 30, every=0.02)
        ids = [{body["id"] for body in server.bodies} for server in (slow, dead, taking)]
        assert ids[0] == ids[1] == ids[2]
        assert len(ids[0]) == len(taking.came) == 2


def test_what_was_not_settled_is_delivered_again_by_the_next_server(
    queue: QueueUnderTest, taking: Receiver
) -> None:
    targets = make_targets([taking.url], [], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "a")
    client = Queue(queue.folder)
    settle = client.settle

    def no_answer(ends: Sequence[Given]) -> list[int]:
        client.failures = 10**9
        return settle(ends)

    client.settle = no_answer  # type: ignore[method-assign]
    with notifying(cast(CoordinatorClient, client), targets, "s", "http://h:1"):
        wait_until(lambda: client.failures > 0, 30, every=0.02)
    assert left(queue) == 1
    with begin(queue, targets):
        wait_until(lambda: left(queue) == 0, 30, every=0.02)
    first, second = taking.bodies
    assert {**first, "link": ""} == {**second, "link": "", "store": "s"}


def test_a_coordinator_that_is_away_is_waited_for(queue: QueueUnderTest, taking: Receiver) -> None:
    targets = make_targets([taking.url], [], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "a")
    client = Queue(queue.folder)
    client.failures = 3
    with notifying(cast(CoordinatorClient, client), targets, "s", "http://h:1"):
        wait_until(lambda: left(queue) == 0, 30, every=0.02)
    assert jobs(taking) == ["a"]


def test_what_was_delivered_and_cannot_be_noted_is_not_delivered_again(
    queue: QueueUnderTest, taking: Receiver
) -> None:
    targets = make_targets([taking.url], [], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "a", "b")
    client = Queue(queue.folder)
    client.unnoted = 5
    with notifying(cast(CoordinatorClient, client), targets, "s", "http://h:1"):
        wait_until(lambda: left(queue) == 0, 30, every=0.02)
    assert client.unnoted == 0
    assert jobs(taking) == ["a", "b"]


def test_a_try_that_has_failed_and_cannot_be_noted_is_not_repeated_and_noted_after_pauses(
    queue: QueueUnderTest, taking: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.status = 503
    monkeypatch.setattr(notifier, "BATCH", 2)
    monkeypatch.setattr(notifications, "FIRST_PAUSE_SECONDS", 0.2)
    targets = make_targets([taking.url], [], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "a", "b", "c")
    client = Queue(queue.folder)
    client.unnoted = 10**9
    with notifying(cast(CoordinatorClient, client), targets, "s", "http://h:1"):
        wait_until(lambda: client.unnoted <= 10**9 - 3, 30, every=0.01)  # after 0.2 s, and 0.4 s
    assert client.unnoted >= 10**9 - 4
    assert client.looks == 1
    assert jobs(taking) == ["a"]


def test_a_command_ends_with_the_service_and_its_children_do(
    queue: QueueUnderTest, tmp_path: Path
) -> None:
    file = tmp_path / "processes"
    command = (
        f"sh -c 'trap \"\" TERM; sleep 60 & echo $$ $! > {file}.new; mv {file}.new {file}; wait'"
    )
    targets = make_targets([], [command], {})
    notifications.set_targets(queue.db, [target.digest for target in targets])
    end_jobs(queue, "a")
    with begin(queue, targets):
        wait_until(file.exists, 30, every=0.02)
    processes = [int(one) for one in file.read_text().split()]
    wait_until(lambda: not any(map(alive, processes)), 10, every=0.02)
    assert left(queue) == 1  # the next service tries again


class Broken:
    """A target with a fault of its own."""

    digest, name = "0f" * 8, "broken"

    def __init__(self) -> None:
        self.tries = 0

    async def deliver(self, body: bytes) -> str | None:
        self.tries += 1
        raise ZeroDivisionError("a fault")


def test_a_fault_of_a_target_is_a_try_that_has_failed(
    queue: QueueUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MAX_TRIES", 3)
    target = Broken()
    notifications.set_targets(queue.db, [target.digest])
    end_jobs(queue, "a", "b")
    with begin(queue, [target]):
        wait_until(lambda: left(queue) == 0, 30, every=0.02)  # both are given up
    assert target.tries == 6


@pytest.mark.parametrize(
    ("event", "link"),
    [
        ({"event": "job_ended", "job": {"job_id": "a.b-1"}}, "matrix?job=a.b-1"),
        ({"event": "cell_failed", "cell": {"key": "0f", "tested_on": None}}, "cells/0f"),
        ({"event": "cell_failed", "cell": {"key": "0f", "tested_on": "E"}}, "failures"),
    ],
)
def test_links_lead_to_the_page(event: dict[str, Any], link: str) -> None:
    common = {"store": "s", "url": "http://h:1"}
    assert complete(event, common) == {**event, "store": "s", "link": f"http://h:1/#/{link}"}
