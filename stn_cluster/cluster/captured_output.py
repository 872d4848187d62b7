"""Output of this process, redirected as a whole: Python's streams, the descriptors, C's buffers.

User code prints by `print`, logging, `os.write(1, ...)`, C libraries and child processes. All of it
goes through the descriptors 1 and 2.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_STDOUT, _STDERR = 1, 2  # descriptors
_libc = ctypes.CDLL(None)
_C_STDOUT = ctypes.c_void_p.in_dll(_libc, "stdout")
_LINE_BUFFERED = 1  # C's _IOLBF on Linux


class _Descriptor(io.FileIO):
    """Writes to a descriptor that never fail: a full disk must not fail a cell that prints."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with suppress(OSError):
            written = 0
            while written < len(view):
                written += super().write(view[written:]) or len(view)
        return len(view)


class _Stream(io.TextIOWrapper):
    """Text file like `sys.stdout`, without a buffer: nothing is lost when the process ends.

    Closing it has no effect, as other cells print to it, too.
    """

    def __init__(self, descriptor: int) -> None:
        raw: Any = _Descriptor(descriptor, "wb", closefd=False)
        raw.name = "<stdout>" if descriptor == _STDOUT else "<stderr>"
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self.mode = "w"  # type: ignore[misc]

    def close(self) -> None:
        """Does nothing."""


@contextmanager
def captured_output() -> Iterator[Callable[[int], None]]:
    """Redirects all output of this process within the block.

    Yields:
        A function that redirects output from now on to another descriptor. Until it is called,
        output goes where it went before.
    """
    streams = _Stream(_STDOUT), _Stream(_STDERR)
    before = sys.stdout, sys.stderr
    flush_buffers()
    _buffer_c_by_lines()
    kept = os.dup(_STDOUT), os.dup(_STDERR)
    if not faulthandler.is_enabled():  # Ray has enabled it, on descriptor 2
        faulthandler.enable(_STDERR)

    def redirect(descriptor: int) -> None:
        flush_buffers()
        os.dup2(descriptor, _STDOUT)
        os.dup2(descriptor, _STDERR)
        # A cell may have replaced them, for itself.
        sys.stdout, sys.stderr = streams

    sys.stdout, sys.stderr = streams
    try:
        yield redirect
    finally:
        flush_buffers()
        for descriptor, previous in zip((_STDOUT, _STDERR), kept, strict=True):
            os.dup2(previous, descriptor)
            os.close(previous)
        sys.stdout, sys.stderr = before


def flush_buffers() -> None:
    """Writes what buffers still hold: C's, and those of Python's first streams."""
    # Not all files of C: one that another thread reads from would be waited for.
    _libc.fflush(_C_STDOUT)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError, ValueError):  # a full disk, or closed
                stream.flush()


def _buffer_c_by_lines() -> None:
    """C buffers stdout by lines only on terminals; otherwise the last lines would be lost when the
    process dies."""
    _libc.setvbuf(_C_STDOUT, None, _LINE_BUFFERED, 0)
