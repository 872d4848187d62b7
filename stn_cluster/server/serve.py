"""`stn-cluster serve`: a coordinator on a Ray cluster, and HTTP in front of it."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path

import uvicorn

from stn_cluster import __version__
from stn_cluster.cluster.connect import ray_cluster, start, with_gpus
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import EndedError, ServiceError, UserError
from stn_cluster.registry import load_plugins
from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.listen import ListenAddress
from stn_cluster.server.request_log import log_as_json
from stn_cluster.store import Store, redact, refuse_published

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 15.0  # of a request, while Ray restarts the coordinator
ANSWER_SECONDS = 60.0  # in which the coordinator answers a request
STOP_SECONDS = 120.0  # for the running steps and their checkpoints
DRAIN_SECONDS = 5  # for requests that are being answered when it stops
LOOK_SECONDS = 5.0  # between two looks whether the coordinator is still there


def serve(
    settings: Settings, listen: ListenAddress, address: str = "auto", gpu: bool | None = None
) -> None:
    """Serves until SIGTERM or Ctrl-C; then running cells are checkpointed and the service ends.

    Killed outright, it leaves the coordinator at work, and the next `serve` finds it.

    Args:
        settings: of the coordinator.
        listen: where it listens.
        address: of the Ray cluster; this must be its head node.
        gpu: whether each worker has one; default: if a node has one.

    Raises:
        UserError: the input is wrong, there is no Ray cluster, or another service is in the way.
        KeyboardInterrupt: it was interrupted, and has ended as it should.
    """
    log_as_json()
    listen.check()
    refuse_published(settings.store)
    load_plugins(settings.plugins)
    with ExitStack() as stack:
        state = Path(settings.state)
        stack.enter_context(lock_state_folder(state / "server", what="server"))
        listening = stack.enter_context(listen.open())
        stack.enter_context(ray_cluster(address, settings.plugins))
        settings = with_gpus(settings, gpu)
        client = start(settings)
        running = client.settings()
        for name in [f.name for f in fields(settings)]:
            ours, theirs = getattr(settings, name), getattr(running, name)
            if ours != theirs:
                raise UserError(
                    f"{redact(settings.store)}: is served already, with {name} {theirs} and not "
                    f"{ours}; serve it with the same, or end that service first"
                )
        backend = Backend(
            client=client.with_patience(PATIENCE_SECONDS, ANSWER_SECONDS),
            store=Store.open(settings.store),
            data_root=Path(settings.data_root) if settings.data_root else None,
            plugins=settings.plugins,
        )
        _serve(backend, client, listen, listening)


def _serve(
    backend: Backend, client: CoordinatorClient, listen: ListenAddress, listening: socket.socket
) -> None:
    app = create_app(backend, listen.token, listen.loopback)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours has it, as JSON
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        limit_concurrency=1000,
    )
    server = uvicorn.Server(config)
    # In a thread, where it leaves the signals to us: after its end there is more to be done.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    with _signals() as (told, interrupted):
        thread.start()
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        said = {"url": url, "store": backend.store.name, "version": __version__}
        log.info("serving", extra=said)
        ended: EndedError | None = None
        while thread.is_alive() and not told.wait(LOOK_SECONDS) and not ended:
            ended = _end_of_coordinator(client)
        server.should_exit = True
        thread.join()
        log.info("stopping: running cells are checkpointed")
        if ended or not told.is_set():
            why = ended or "the service has ended"
            raise EndedError(f"{why}; its queue and store are as they were")
        try:
            client.stop(STOP_SECONDS)
        except UserError as error:
            # Whatever was not written is still queued.
            log.error("not all could be written: %s", error)
        log.info("stopped")
    if interrupted.is_set():
        raise KeyboardInterrupt


def _end_of_coordinator(client: CoordinatorClient) -> EndedError | None:
    """Why the coordinator has ended for good, if it has; while Ray restarts it, it is just away."""
    try:
        client.with_patience(0, timeout=LOOK_SECONDS).settings()
    except EndedError as error:
        return error
    except ServiceError as error:
        log.warning("%s", error)
    return None


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events: it was told to end; and it was interrupted by hand. Ray's own handlers just exit."""
    told, interrupted = threading.Event(), threading.Event()

    def note(signum: int, frame: object) -> None:
        if signum == signal.SIGINT:
            interrupted.set()
        told.set()

    before = {sign: signal.signal(sign, note) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told, interrupted
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
