"""Consoles on streams that may be terminals, pipes, full disks, or closed."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNCROPPED = 10_000  # columns of a pipe
UNWRITABLE = (OSError, ValueError)  # ValueError: the stream is closed


def make_console(stream: IO[str]) -> Console:
    """Console on a stream, in colour on a terminal only, and never cropped elsewhere."""
    from rich.console import Console

    steady = SteadyStream(stream)
    terminal = steady.isatty()
    width = None if terminal else UNCROPPED
    return Console(
        file=steady,  # type: ignore[arg-type]
        force_terminal=terminal,  # not FORCE_COLOR, which would draw a live display into a log
        width=width,
        highlight=False,
    )


class SteadyStream:
    """Text stream that drops what its stream can no longer take.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, if that is possible."""
        with suppress(*UNWRITABLE):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, if that is possible."""
        with suppress(*UNWRITABLE):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self._stream.isatty()
        except UNWRITABLE:
            return False
