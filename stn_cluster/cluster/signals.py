"""Signals: SIGTERM does what Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Within the block, SIGTERM raises KeyboardInterrupt as Ctrl-C does: running work is
    checkpointed. Ray's own handler just exits.

    The event is set by either. An exception from a signal can be lost, where it is raised in a
    destructor of Ray's say; the event is not.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may set handlers
        return

    def interrupt(signum: int, frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, interrupt) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
