"""Logs of the attempts of a pack: collected in a worker, sent to the store in parts."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from stn_cluster.queue.attempts import utc_now

MAX_CHARACTERS = 100_000  # per attempt between two reports; the rest is cut off, with a note


class AttemptLog:
    """New log lines of each attempt, which any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text: defaultdict[str, str] = defaultdict(str)

    def __bool__(self) -> bool:
        """Whether there are new lines."""
        return bool(self._text)

    def line(self, attempt: str, text: str) -> None:
        """Adds a line, preceded by the time."""
        self._add(attempt, f"{stamp()} {text}\n")

    def take(self) -> dict[str, str]:
        """Removes and returns the new lines, by attempt."""
        with self._lock:
            taken, self._text = dict(self._text), defaultdict(str)
        return taken

    @contextmanager
    def gathering(self, attempts: Sequence[str]) -> Iterator[None]:
        """Adds everything that the block prints or logs to the logs of all these attempts, as it
        could belong to any of them."""
        stream = _Stream(self, attempts)
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            with redirect_stdout(stream), redirect_stderr(stream):
                yield
        finally:
            stream.end_line()
            root.removeHandler(handler)

    def _add(self, attempt: str, text: str) -> None:
        with self._lock:
            so_far = self._text[attempt]
            if len(so_far) <= MAX_CHARACTERS:
                cut = text[: MAX_CHARACTERS - len(so_far)]
                self._text[attempt] = so_far + cut + ("" if cut == text else "\n... cut off\n")


class _Stream(io.TextIOBase):
    """File for prints: adds whole lines to the logs of all attempts of a pack."""

    def __init__(self, log: AttemptLog, attempts: Sequence[str]) -> None:
        self._log = log
        self._attempts = attempts
        self._thread = threading.get_ident()
        self._rest = ""
        self._stderr = sys.__stderr__  # for prints of other threads, which are not the pack's

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            return self._stderr.write(text) if self._stderr else len(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            for attempt in self._attempts:
                self._log.line(attempt, line)
        return len(text)

    def end_line(self) -> None:
        """Ends the last line, if it is incomplete."""
        if self._rest:
            self.write("\n")


def stamp() -> str:
    """Current time, as it is written at the beginning of a log line."""
    return f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
