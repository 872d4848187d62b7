"""A process of its own for whatever needs PyTorch, so that a server neither loads nor waits for it.

It is started when it is first asked, ends after some idle minutes, and is killed when an answer
takes too long: user code may hang, or end its process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stn_cluster.errors import NotFoundError, ServiceError, StoreError, UserError

SECONDS = 20.0  # longest time of an answer, with the start of the process
WAITING = 16  # requests that may wait for their turn
ANSWER, REFUSAL, FAULT = b"+", b"-", b"!"  # first byte of a reply
REFUSALS: dict[str, type[UserError]] = {
    kind.__name__: kind for kind in (NotFoundError, StoreError, UserError)
}


class BusyError(ServiceError):
    """Too many requests are waiting for the process, or the server is ending."""


class DrawingProcess:
    """Answers tasks about one store; see `stn_cluster.drawing.tasks` for what can be asked.

    Requests are answered one after the other. It may be asked from several threads.

    Args:
        store: path or URI of the store.
        data_root: folder of data files.
        plugins: modules of components that the store's cells need.
    """

    def __init__(
        self, store: str, data_root: Path | None = None, plugins: tuple[str, ...] = ()
    ) -> None:
        self._start_with = {
            "store": store,
            "data_root": None if data_root is None else str(data_root),
            "plugins": list(plugins),
        }
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._closed = False

    def ask(self, task: str, request: Mapping[str, Any], seconds: float = SECONDS) -> bytes:
        """Answer to a task.

        Args:
            task: its name.
            request: its fields, as JSON.
            seconds: longest time that it may take, once it is its turn.

        Raises:
            UserError: the request is wrong, or what it names is not there.
            BusyError: too many requests are waiting.
            ServiceError: it took too long, or the process died.
        """
        message = json.dumps({"task": task, "request": request}).encode()
        with self._a_place(), self._turn:
            try:
                reply = self._reply(message, seconds)
            except BaseException:  # its next reply would be to this request
                self._kill()
                raise
        return _answer(reply)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """Ends the process, also while it computes; what waits for it gets an error."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # so that the request whose turn it is ends, whatever the process does
        with self._turn:
            self._kill()

    @contextmanager
    def _a_place(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise BusyError(f"{WAITING} requests for drawings are waiting already")
        try:
            yield
        finally:
            self._waiting.release()

    def _reply(self, message: bytes, seconds: float) -> bytes:
        for again in (True, False):
            if self._closed:
                raise BusyError("the server is ending")
            new = self.pid is None
            if new:
                self._start()
            connection = self._connection
            assert connection is not None
            try:
                connection.send_bytes(message)
                if not connection.poll(seconds):
                    raise ServiceError(f"drawing took longer than {seconds:g} s, and was ended")
                return connection.recv_bytes()
            except (EOFError, OSError):
                self._kill()
                # One that had been idle may have ended just now.
                if new or not again:
                    break
        raise ServiceError("the process that draws has died: see the server's log")

    def _start(self) -> None:
        self._kill()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "stn_cluster.drawing", str(theirs.fileno())]
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # what user code prints is none of a command's output
                env={**os.environ, **one_thread},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which ends it
            )
        self._connection = Connection(ours.detach())
        self._connection.send_bytes(json.dumps(self._start_with).encode())
        if self._closed:  # meanwhile: nobody else knew of this one
            self._process.kill()

    def _kill(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answer(reply: bytes) -> bytes:
    kind, body = reply[:1], reply[1:]
    if kind == ANSWER:
        return body
    found = json.loads(body)
    if kind == REFUSAL:
        error = REFUSALS[found["kind"]](found["message"])
        error.field = found["field"]
        raise error
    raise ServiceError(f"drawing failed: {found['message']}: see the server's log")
