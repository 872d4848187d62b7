"""Signals: makes SIGTERM and SIGHUP behave like Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


def ending_signals() -> list[signal.Signals]:
    """Signals that end a training with checkpoints: SIGINT, SIGTERM, and SIGHUP, which a terminal
    sends when it closes, unless it is ignored, as by nohup."""
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hangup]


@contextlib.contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Makes SIGTERM and SIGHUP raise KeyboardInterrupt within the block, like Ctrl-C, so that
    running work is checkpointed. Ray's own handler would exit at once.

    The signals also set the event, because an exception from a signal handler can be lost, for
    example if it is raised in a destructor.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may set handlers
        return

    def interrupt(signum: int, frame: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, interrupt) for sign in ending_signals()}
    try:
        yield interrupted
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
