"""Logs of the attempts of a pack: collected in a worker, sent to the store in parts."""

from __future__ import annotations

import codecs
import logging
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from stn_cluster.cluster.captured_output import captured_output, flush_buffers
from stn_cluster.cluster.spool import (
    SHARED,
    Spool,
    make_folder,
    remove_abandoned,
    remove_folder,
)
from stn_cluster.plain_text import plain_lines
from stn_cluster.queue.attempts import utc_now

# Per attempt between two reports. The first and the last half are kept, as errors come last.
MAX_CHARACTERS = 100_000
MAX_TOTAL = 20_000_000  # characters of an attempt's log; after it, each report has far less
FEW_CHARACTERS = 2_000  # per report after that
MAX_LINE = 10_000  # characters
PIECE = MAX_LINE - 100  # characters of a printed line, which is broken where it is longer
MAX_BLOCKS = 64  # of a megabyte, between two reports


class AttemptLog:
    """New log lines of each attempt, which any thread may add.

    Args:
        worker: name of the worker; None: what it prints cannot be read after its death.
    """

    def __init__(self, worker: str | None = None) -> None:
        self._worker = worker
        if worker:
            remove_abandoned()
        self._lock = threading.RLock()
        self._lines: defaultdict[str, _Lines] = defaultdict(_Lines)
        self._total: defaultdict[str, int] = defaultdict(int)
        self._sources: dict[str, _Source] = {}  # by attempt; and that of all, under SHARED
        self._taken: dict[str, int] = {}  # how far each source was read when it was taken
        self._redirect: Callable[[int], None] | None = None
        self._current = SHARED  # name of the source that output goes to

    def __bool__(self) -> bool:
        """Whether there are new lines."""
        with self._lock:
            self._collect()
            return any(self._lines.values())

    def line(self, attempt: str, text: str) -> None:
        """Adds a line, preceded by the time; a text of several lines is added as it is."""
        with self._lock:
            self._collect()  # what was printed before it
            self._add(attempt, text)

    def take(self) -> dict[str, str]:
        """Removes and returns the new lines, by attempt."""
        with self._lock:
            self._collect()
            taken = {attempt: lines.text() for attempt, lines in self._lines.items() if lines}
            self._lines.clear()
            self._taken = {name: source.position for name, source in self._sources.items()}
            for attempt, text in taken.items():
                self._total[attempt] += len(text)
        return taken

    def delivered(self) -> None:
        """Notes that the coordinator has what was taken last: it is not asked for again."""
        with self._lock:
            for name, position in self._taken.items():
                if source := self._sources.get(name):
                    source.spool.mark(position)

    def turn(self, attempt: str | None) -> None:
        """Says whose code runs from now on, and so whose output it is; None: that of all."""
        name = attempt or SHARED
        if self._redirect is None or name not in self._sources or name == self._current:
            return
        with self._lock:
            self._redirect(self._sources[name].spool.descriptor)
            self._collect_from(self._current)
            self._current = name

    @contextmanager
    def gathering(self, attempts: Sequence[str]) -> Iterator[None]:
        """Adds everything that this process prints or logs within the block to the logs of these
        attempts: to that of one while it is its turn, otherwise to all."""
        folder = make_folder(self._worker) if self._worker else None
        names = [SHARED] if len(attempts) == 1 else [SHARED, *attempts]
        with self._lock:
            self._total.clear()
            self._sources = {
                name: _Source(Spool(folder, name), attempts if name == SHARED else (name,))
                for name in names
            }
        try:
            with captured_output() as redirect:
                self._current, self._redirect = SHARED, redirect
                redirect(self._sources[SHARED].spool.descriptor)
                with _logging_to(sys.stderr):
                    yield
        finally:
            self._redirect = None
            with self._lock:
                self._collect(end=True)
                sources, self._sources, self._taken = self._sources, {}, {}
            for source in sources.values():
                source.spool.close()
            if folder:
                remove_folder(folder)

    def _collect(self, end: bool = False) -> None:
        """Adds the new lines of all sources; at the end, also lines that are not complete."""
        if self._redirect is not None:
            flush_buffers()
        for name in self._sources:
            self._collect_from(name, end)

    def _collect_from(self, name: str, end: bool = False) -> None:
        source = self._sources[name]
        for line in source.lines(end):
            for attempt in source.attempts:
                self._add(attempt, line)

    def _add(self, attempt: str, text: str) -> None:
        limit = MAX_CHARACTERS if self._total[attempt] <= MAX_TOTAL else FEW_CHARACTERS
        self._lines[attempt].add(f"{stamp()} {text}\n", limit)


class _Source:
    """Output of one attempt, or of all: a spool, and its last line until that is complete."""

    def __init__(self, spool: Spool, attempts: Sequence[str]) -> None:
        self.spool = spool
        self.attempts = attempts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._rest_bytes = 0  # in the spool

    @property
    def position(self) -> int:
        """Place in the spool where its next line begins."""
        return self.spool.position - self._rest_bytes

    def lines(self, end: bool = False) -> Iterator[str]:
        """New lines; at the end, also one that is not complete."""
        for _ in range(MAX_BLOCKS):  # not for ever, if a child process prints without end
            if not (block := self.spool.read()):
                break
            ends = block.rfind(b"\n") + 1
            self._rest_bytes = len(block) - ends + (0 if ends else self._rest_bytes)
            yield from self._split(self._decoder.decode(block))
        if end and self._rest:
            yield plain_lines(self._rest.rstrip("\r"))
            self._rest = ""

    def _split(self, text: str) -> Iterator[str]:
        *lines, rest = (self._rest + text).split("\n")
        for line in lines:
            yield from _pieces(plain_lines(_last_state(line).rstrip("\r")))
        self._rest = _last_state(rest)
        if len(self._rest) > PIECE:  # it may never end
            yield from _pieces(plain_lines(self._rest))
            self._rest, self._rest_bytes = "", 0


class _Lines:
    """New lines of one attempt: the first and the last of them, if there are too many."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._first_size = self._last_size = 0
        self._cut_lines = self._cut_size = 0

    def __bool__(self) -> bool:
        return bool(self._first or self._last)

    def add(self, line: str, limit: int) -> None:
        """Adds a line to those of which `limit` characters are kept."""
        if (more := len(line) - MAX_LINE) > 0:
            line = f"{line[:MAX_LINE]} ... {more:,} characters cut off\n"
        if not self._last and self._first_size + len(line) <= limit // 2:
            self._first.append(line)
            self._first_size += len(line)
            return
        self._last.append(line)
        self._last_size += len(line)
        while self._last_size > limit // 2 and len(self._last) > 1:
            cut = self._last.popleft()
            self._last_size -= len(cut)
            self._cut_size += len(cut)
            self._cut_lines += 1

    def text(self) -> str:
        """The lines, with a note in place of those that were cut off."""
        note = f"... {self._cut_lines:,} lines cut off, {self._cut_size:,} characters ...\n"
        return "".join([*self._first, note if self._cut_lines else "", *self._last])


def lines_after_death(output: Mapping[str, bytes], attempts: Sequence[str]) -> dict[str, str]:
    """Lines for the logs of attempts whose process has died.

    Args:
        output: from `last_output`.
        attempts: those that the process had.
    """
    texts = {}
    for attempt in attempts:
        lines = _Lines()
        for name in (SHARED, attempt):
            text = output.get(name, b"").decode("utf-8", "replace")
            for line in text.removesuffix("\n").split("\n") if text else ():
                lines.add(f"{stamp()} {plain_lines(_last_state(line))}\n", MAX_CHARACTERS)
        if lines:
            texts[attempt] = lines.text()
    return texts


def _pieces(line: str) -> Iterator[str]:
    """A line, broken where it is too long."""
    for start in range(0, max(1, len(line)), PIECE):
        yield line[start : start + PIECE]


def _last_state(line: str) -> str:
    """What a terminal would show of a line that overwrites itself, as progress bars do."""
    body = line.rstrip("\r")
    return body.rpartition("\r")[2] + line[len(body) :][:1]


@contextmanager
def _logging_to(stream: TextIO) -> Iterator[None]:
    """Writes what libraries log within the block to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def stamp() -> str:
    """Current time, as it is written at the beginning of a log line."""
    return f"{utc_now().replace(tzinfo=None).isoformat(timespec='seconds')}Z"
