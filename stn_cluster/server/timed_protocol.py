"""Connections whose requests do not come, or whose answers are not read, are closed, so that they
keep nobody else out; and so are the oldest of those that wait, where there are too many."""

from __future__ import annotations

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # from the connection, or a request's first byte, to the end of its headers
READ_SECONDS = 60.0  # in which a client must read something of what waits for it: some 64 KB
MOST_CONNECTIONS = 10_000
BACKLOG = 128  # connections that asyncio accepts at once, before any of them can be closed


def backlog() -> int:
    """`BACKLOG`, or less where this process may open few files."""
    return max(1, min(BACKLOG, most_connections() // 4))


def most_connections() -> int:
    """Connections at a time: half of the files that this process may open, as others are needed.

    Where none could be opened any more, asyncio would try again ever more often, without an end.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, soft // 2) if soft > 0 else MOST_CONNECTIONS


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with limits on the time that a request's headers may take, and that
    its answer may wait to be read."""

    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio once a client has connected."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > most_connections():
            self._close_the_oldest()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what has come."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()  # a request is being answered
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio once the connection is closed."""
        self._stop_waiting()
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio where much waits to be read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by asyncio once most of it was read."""
        self._is_read()
        super().resume_writing()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _close_the_oldest(self) -> None:
        """Closes the connection whose request has not come for the longest time."""
        waiting = [one for one in self.connections if isinstance(one, TimedProtocol) and one._timer]
        oldest = min(waiting, key=lambda one: one._timer.when())  # type: ignore[union-attr]
        oldest._stop_waiting()
        oldest.transport.abort()
        self.connections.discard(oldest)  # it is told so later

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
