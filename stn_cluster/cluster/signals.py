"""Signals: the first one interrupts what runs, so that it is checkpointed; a second one ends at
once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

INTERRUPTED = 130  # exit code
SAME_SECONDS = 0.05  # some programs forward a signal that the whole process group has had already
STOPPING = "stopping: running cells are checkpointed; Ctrl-C again ends at once"

# SIGHUP: the terminal is lost. Ray's own handler of SIGTERM would exit at once.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"  # for a terminal, where a live display hides it


class Interrupted(threading.Event):
    """Set by the first signal."""

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None  # the first one
        self.raises = True  # whether the first one raises KeyboardInterrupt
        self._at = 0.0

    def handle(self, signum: int, frame: object = None) -> None:
        """Handles a signal.

        Raises:
            KeyboardInterrupt: it is the first one, and `raises`.
        """
        now = time.monotonic()
        if not self.is_set():
            self.signal, self._at = signum, now
            self.set()
            if self.raises:
                raise KeyboardInterrupt
        elif now - self._at > SAME_SECONDS:
            exit_at_once()


_active: Interrupted | None = None  # of the outermost block, or of the whole process


def interrupt_for_good() -> None:
    """Handles Ctrl-C as `interrupts` does, from now to the end of the process."""
    global _active
    _active = Interrupted()
    signal.signal(signal.SIGINT, _active.handle)


@contextlib.contextmanager
def interrupts(
    signals: Sequence[signal.Signals] = _SIGNALS, *, raises: bool = True
) -> Iterator[Interrupted]:
    """Handles signals within the block: the first raises KeyboardInterrupt and sets the event, a
    second one ends the process at once, with exit code 130 and without a traceback.

    The event is set too because an exception from a signal handler can be lost, for example if it
    is raised in a destructor. Blocks may be nested: an inner one sets the handlers again that
    something else, such as Ray, has replaced since.

    Args:
        signals: signals to handle; SIGHUP stays ignored if it is, as by `nohup`.
        raises: whether the first one raises KeyboardInterrupt.
    """
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield _active or Interrupted()  # only the main thread may set handlers
        return
    outer = _active
    _active = active = outer or Interrupted()
    raised, active.raises = active.raises, raises
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = [each for each in signals if not (ignored and each is signal.SIGHUP)]
    before = {each: signal.signal(each, active.handle) for each in handled}
    try:
        yield active
    finally:
        _active, active.raises = outer, raised
        for each, handler in before.items():
            signal.signal(each, handler)


def say_stopping() -> None:
    """Prints what happens after the first signal, as far as anybody can read it."""
    with contextlib.suppress(OSError, ValueError):  # the terminal is lost, the pipe is closed
        print(STOPPING, file=sys.stderr, flush=True)


def exit_at_once() -> NoReturn:
    """Ends this process without any cleanup; the processes of its own Ray end with it."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(INTERRUPTED)
