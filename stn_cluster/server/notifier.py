"""Delivers the queue's notifications, from a thread of the server.

Each target has a task of its own, so that none waits for another one. A notification goes from the
queue once it is delivered; whatever ends this process before is made good by the next server, so
that a target may get one twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.errors import UserError
from stn_cluster.queue.notifications import Given, Notification, pause_after
from stn_cluster.server.notify_targets import Target
from stn_cluster.server.notify_url import SECRET_VARIABLE, NotifyUrl
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # between two looks at the queue
ANSWER_SECONDS = 5.0  # for the coordinator's answer
END_SECONDS = 10.0  # for what is being delivered when the server ends
LONGEST_WAIT_SECONDS = 60.0  # for a queue that cannot be read or written
BATCH = 20


@contextmanager
def notifying(
    client: CoordinatorClient, targets: Sequence[Target], store: str, url: str
) -> Iterator[None]:
    """Delivers within the block.

    Args:
        client: of the coordinator.
        targets: who is told.
        store: name of the store, for people.
        url: of the server, for links.
    """
    if not targets:
        yield
        return
    for target in targets:
        if isinstance(target, NotifyUrl) and target.secret is None:
            log.warning(
                "notifications to %s have no signature: no %s", target.name, SECRET_VARIABLE
            )
    patient = client.with_patience(0, ANSWER_SECONDS)
    common = {"store": store, "url": _for_others(url)}
    loop = asyncio.new_event_loop()
    deliveries = [_Deliveries(patient, target, common) for target in targets]
    tasks = [loop.create_task(one.keep_delivering()) for one in deliveries]
    thread = threading.Thread(
        target=loop.run_until_complete,
        args=[asyncio.wait(tasks)],
        name="notifier",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        for task in tasks:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(END_SECONDS)


class _Deliveries:
    """Deliveries to one target."""

    def __init__(
        self, client: CoordinatorClient, target: Target, common: Mapping[str, str]
    ) -> None:
        self._client = client
        self._target = target
        self._common = common
        self._calls = SingleThread(f"notify-{target.digest}")
        # A try whose outcome the queue does not have yet: it is not made again until it has.
        self._tried: tuple[Notification, Given] | None = None

    async def keep_delivering(self) -> None:
        """Delivers until it is cancelled."""
        failures = 0  # of the queue, one after the other
        try:
            while True:
                pause = POLL_SECONDS
                try:
                    if await self._deliver_due():
                        pause = 0
                    failures = 0
                except UserError as error:  # the coordinator restarts, or a disk is full
                    failures += 1
                    log.warning("notifications wait: %s", error)
                except Exception:  # an error of its own ends neither the server nor the deliveries
                    failures += 1
                    log.exception("notifications wait")
                if failures:
                    pause = min(pause_after(failures), LONGEST_WAIT_SECONDS)
                await asyncio.sleep(pause)
        finally:
            self._calls.close()

    async def _deliver_due(self) -> bool:
        """Delivers what is due, a batch of it at most; returns whether there may be more."""
        await self._note()
        due = await self._calls.run(self._client.notifications, self._target.digest, BATCH)
        for one in due:
            self._tried = one, Given(one.number, await self._failure(one))
            await self._note()
        return len(due) == BATCH

    async def _note(self) -> None:
        """Tells the queue what has become of a try."""
        if self._tried is None:
            return
        one, given = self._tried
        given_up = await self._calls.run(self._client.settle, [given])
        self._tried = None
        if given_up:
            log.error("given up, undelivered", extra=_about(self._target, one))

    async def _failure(self, due: Notification) -> str | None:
        """Tries to deliver a notification; returns why that has failed, or None."""
        try:
            body = json.dumps(complete(due.body, self._common)).encode()
            failure = await self._target.deliver(body)
        except UserError as error:  # its proxy or its certificates have changed
            failure = str(error)
        except Exception as error:  # otherwise it would be tried at once, for ever
            log.exception("a fault in a delivery", extra=_about(self._target, due))
            failure = f"{type(error).__name__}: {error}"
        if failure is not None:
            log.warning("not delivered: %s", failure, extra=_about(self._target, due))
        return failure


def _about(target: Target, due: Notification) -> dict[str, str]:
    """Fields of the log."""
    return {"id": due.body["id"], "event": due.body["event"], "target": target.name}


def complete(body: Mapping[str, Any], common: Mapping[str, str]) -> dict[str, Any]:
    """Adds the store and a link to the page to a notification."""
    if body["event"] == "job_ended":
        view = f"matrix?job={body['job']['job_id']}"
    elif body["cell"]["tested_on"] is None:
        view = f"cells/{body['cell']['key']}"
    else:  # an evaluation
        view = "failures"
    return {**body, "store": common["store"], "link": f"{common['url']}/#/{view}"}


def _for_others(url: str) -> str:
    """The server's URL as others can reach it."""
    parts = urlsplit(url)
    if parts.hostname not in ("0.0.0.0", "::"):  # it listens on all addresses
        return url
    return f"{parts.scheme}://{socket.gethostname()}:{parts.port}"
