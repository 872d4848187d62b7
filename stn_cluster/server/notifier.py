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
from stn_cluster.queue.notifications import Given, Notification
from stn_cluster.server.notify_targets import Target
from stn_cluster.server.notify_url import SECRET_VARIABLE, NotifyUrl
from stn_cluster.threads import SingleThread

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # between two looks at the queue
ANSWER_SECONDS = 5.0  # for the coordinator's answer
END_SECONDS = 10.0  # for what is being delivered when the server ends
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
    tasks = [loop.create_task(_keep_delivering(patient, target, common)) for target in targets]
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


async def _keep_delivering(
    client: CoordinatorClient, target: Target, common: Mapping[str, str]
) -> None:
    calls = SingleThread(f"notify-{target.digest}")
    try:
        while True:
            due: list[Notification] = []
            try:
                due = await calls.run(client.notifications, target.digest, BATCH)
                for one in due:
                    given = await _deliver(target, one, common)
                    if await calls.run(client.settle, [given]):
                        log.error("given up, undelivered", extra=_about(target, one))
            except UserError as error:  # the coordinator restarts, or a disk is full
                log.warning("notifications wait: %s", error)
            except Exception:  # an error of its own ends neither the server nor the deliveries
                log.exception("notifications wait")
            if len(due) < BATCH:
                await asyncio.sleep(POLL_SECONDS)
    finally:
        calls.close()


async def _deliver(target: Target, due: Notification, common: Mapping[str, str]) -> Given:
    body = json.dumps(complete(due.body, common)).encode()
    try:
        failure = await target.deliver(body)
    except UserError as error:  # its proxy or its certificates have changed
        failure = str(error)
    if failure is not None:
        log.warning("not delivered: %s", failure, extra=_about(target, due))
    return Given(due.number, failure)


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
