"""Logs of the attempts of a pack: gathered in a worker, sent to the store in pieces."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from stn_cluster.queue.attempts import utc_now

MAX_CHARACTERS = 100_000  # of one attempt between two sendings; more is cut off, and said so


class AttemptLog:
    """Lines by attempt, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text: defaultdict[str, str] = defaultdict(str)

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._text)

    def line(self, attempt: str, text: str) -> None:
        """Adds a line, with the time before it."""
        self._add(attempt, f"{stamp()} {text}\n")

    def take(self) -> dict[str, str]:
        """Lines that are new since the last time, by attempt."""
        with self._lock:
            taken, self._text = dict(self._text), defaultdict(str)
        return taken

    @contextmanager
    def gathering(self, attempts: Sequence[str]) -> Iterator[None]:
        """Sends all that the block prints or logs to the logs of these attempts: it cannot be told
        which of them it belongs to."""
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
    """A file for prints: whole lines go to all attempts of the pack."""

    def __init__(self, log: AttemptLog, attempts: Sequence[str]) -> None:
        self._log = log
        self._attempts = attempts
        self._thread = threading.get_ident()
        self._rest = ""
        self._beside = sys.__stderr__  # what other threads print is not the pack's

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            return self._beside.write(text) if self._beside else len(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            for attempt in self._attempts:
                self._log.line(attempt, line)
        return len(text)

    def end_line(self) -> None:
        """Completes a last line without an end."""
        if self._rest:
            self.write("\n")


def stamp() -> str:
    """The time at the beginning of a log's line."""
    return f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
