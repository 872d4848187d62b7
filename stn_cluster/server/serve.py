"""`stn-cluster serve`: a coordinator on a Ray cluster, and an HTTP server for it."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

from stn_cluster import __version__
from stn_cluster.client.local_tokens import TOKEN_FILE, note_service
from stn_cluster.client.schemas import is_usable_token
from stn_cluster.cluster.connect import ray_cluster, start, with_gpus
from stn_cluster.cluster.coordinator_client import CoordinatorClient
from stn_cluster.cluster.settings import Settings
from stn_cluster.cluster.signals import STOPPING, interrupts
from stn_cluster.cluster.state_folder import lock_state_folder
from stn_cluster.errors import EndedError, ServiceError, StoreError, UserError
from stn_cluster.private_files import (
    OWNER_ALONE,
    close_file,
    close_folder,
    closed_to_others,
    refuse_writable,
    write_private,
)
from stn_cluster.registry import load_plugins
from stn_cluster.server.app import create_app
from stn_cluster.server.backend import Backend
from stn_cluster.server.http_server import http_server
from stn_cluster.server.listen import SHORTEST_TOKEN, ListenAddress
from stn_cluster.server.notifier import notifying
from stn_cluster.server.notify_targets import Target
from stn_cluster.server.request_log import log_as_json
from stn_cluster.server.service_routes import SERVICE
from stn_cluster.server.view_store import page_address
from stn_cluster.store import Store, redact, refuse_published

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 15.0  # time that a request waits while Ray restarts the coordinator
ANSWER_SECONDS = 60.0  # timeout of the coordinator's response to a request
STOP_SECONDS = 120.0  # time for running steps and their checkpoints when it stops
LOOK_SECONDS = 5.0  # time between checks that the coordinator still exists


def serve(
    settings: Settings,
    listen: ListenAddress,
    address: str = "auto",
    gpu: bool | None = None,
    announce: Callable[[str], None] = lambda address: None,
    targets: Sequence[Target] = (),
) -> None:
    """Serves until SIGTERM, SIGHUP or Ctrl-C; then checkpoints running cells and ends the service.

    If it is killed, the coordinator continues, and the next `serve` finds it.

    Args:
        settings: settings of the coordinator.
        listen: address to listen on.
        address: address of the Ray cluster; this machine must be its head node.
        gpu: whether each worker has a GPU; default: yes if a node has one.
        announce: is told the page's address, with the token.
        targets: who is told of ended jobs and failed cells.

    Raises:
        UserError: the input is wrong, there is no Ray cluster, or another service holds the store
            or the state folder.
        KeyboardInterrupt: it was interrupted by Ctrl-C, and the service has ended properly.
    """
    log_as_json()
    listen.check()
    refuse_published(settings.store)
    stood_open = [folder for folder in settings.folders if refuse_writable(folder)]
    load_plugins(settings.plugins)
    with ExitStack() as stack:
        stack.enter_context(closed_to_others(*settings.folders))
        listening = stack.enter_context(listen.open())
        stack.enter_context(ray_cluster(address))
        # The first that makes a folder, after all that might refuse.
        state = Path(settings.state)
        stack.enter_context(lock_state_folder(state / "server", what="server"))
        close_folder(state)
        if listen.token is None and listen.needs_token:
            listen = replace(listen, token=own_token(state, renew=state in stood_open))
        settings = replace(with_gpus(settings, gpu), notify=tuple(t.digest for t in targets))
        client = start(settings)
        running = client.settings()
        for name in [f.name for f in fields(settings)]:
            ours, theirs = getattr(settings, name), getattr(running, name)
            if ours != theirs:
                how = f"{name} {theirs} and not {ours}"
                if name == "notify":  # digests, which tell nobody anything
                    how = "other --notify and --exec"
                raise UserError(
                    f"{redact(settings.store)}: is served already, with {how}; serve it with the "
                    "same, or end that service first"
                )
        backend = Backend(
            mode="serve",
            client=client.with_patience(PATIENCE_SECONDS, ANSWER_SECONDS),
            store=Store.open(settings.store),
            data_root=Path(settings.data_root) if settings.data_root else None,
            plugins=settings.plugins,
        )
        _serve(backend, client, listen, listening, announce, state, targets)


def _serve(
    backend: Backend,
    client: CoordinatorClient,
    listen: ListenAddress,
    listening: socket.socket,
    announce: Callable[[str], None],
    state: Path,
    targets: Sequence[Target],
) -> None:
    app = create_app(backend, listen.token, listen.loopback, SERVICE)
    with interrupts(raises=False) as stop_requested:  # again, as Ray has its own handlers
        ended: EndedError | None = None
        with (
            http_server(app, listening) as server,
            closing(backend.drawings),  # first, so that no request waits for it
            _noted(listen, listening, state),
            notifying(client, targets, backend.store.name, server.url),
        ):
            fields = {"url": server.url, "store": backend.store.name, "version": __version__}
            log.info("serving", extra=fields)
            announce(page_address(server.url, listen.token))
            while server.thread.is_alive() and not stop_requested.wait(LOOK_SECONDS) and not ended:
                ended = _end_of_coordinator(client)
            log.info(STOPPING)
        if ended or not stop_requested.is_set():
            reason = ended or "the service has ended"
            raise EndedError(f"{reason}; its queue and store are unchanged")
        try:
            client.stop(STOP_SECONDS)
        except UserError as error:
            # Cells whose results were not written are still queued.
            log.error("not everything could be written: %s", error)
        log.info("stopped")
    if stop_requested.signal == signal.SIGINT:
        raise KeyboardInterrupt


def own_token(state: Path, renew: bool = False) -> str:
    """Token of a service to which none was given: that in its state, which is made if necessary.

    Args:
        state: its state.
        renew: whether others may know the present one, or have put it there.
    """
    file = state / TOKEN_FILE
    with suppress(FileNotFoundError):
        renew |= bool(file.stat().st_mode & OWNER_ALONE)
        close_file(file)
        token = file.read_text(encoding="utf-8").strip()
        # One that a power cut, or a full disk, has left empty would let everybody in.
        if len(token) >= SHORTEST_TOKEN and is_usable_token(token) and not renew:
            return token
    token = secrets.token_hex(32)
    try:
        write_private(file, f"{token}\n")
    except OSError as error:  # such as a full disk
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
    return token


@contextmanager
def _noted(listen: ListenAddress, listening: socket.socket, state: Path) -> Iterator[None]:
    """Within the block, clients of the same user find a token that the service has made."""
    if not listen.needs_token or not (state / TOKEN_FILE).exists():
        yield
        return
    port = listening.getsockname()[1]
    try:
        note = note_service(listen.host, port, state)
    except OSError as error:  # such as a home folder that cannot be written
        log.warning("clients do not find %s by themselves: %s", state / TOKEN_FILE, error)
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink()


def _end_of_coordinator(client: CoordinatorClient) -> EndedError | None:
    """Reason why the coordinator has ended for good; None if it runs or Ray restarts it."""
    try:
        client.with_patience(0, timeout=LOOK_SECONDS).settings()
    except EndedError as error:
        return error
    except ServiceError as error:
        log.warning("%s", error)
    return None
