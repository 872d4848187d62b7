"""A command that is told of ended jobs and failed cells: JSON on its standard input."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from stn_cluster.errors import UserError, error_line
from stn_cluster.grid import short_hash

log = logging.getLogger(__name__)

SECONDS = 60.0  # for a run of the command
MOST_SAID = 10_000_000  # bytes that it may write to standard error
_LOOK_SECONDS = 0.05  # between two looks whether it has ended
_KILLED_SECONDS = 5.0  # for its end once it was killed
_BLOCK = 2**16  # bytes: a pipe has no more
_BLOCKS = 64  # at most, from one look to the next
_KEPT = 4096  # bytes of what it says


@dataclass(frozen=True)
class NotifyCommand:
    """A command; make one with `of`."""

    words: tuple[str, ...] = field(repr=False)  # may contain secrets

    @classmethod
    def of(cls, text: str) -> NotifyCommand:
        """Splits a command as a shell does, without expanding anything, and finds its program.

        Raises:
            UserError: it is empty, a quotation does not end, or there is no such program.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UserError(f"--exec: {text!r}: {error}") from None
        if not words or not words[0]:
            raise UserError("--exec: a command, as in --exec 'mail -s ended me@example.org'")
        if any("\0" in word for word in words):
            raise UserError("--exec: a command cannot contain a null character")
        program = shutil.which(words[0])
        if program is None:
            raise UserError(f"--exec: there is no program {words[0]!r} that can be run")
        return cls((os.path.abspath(program), *words[1:]))  # noqa: PTH100

    @property
    def digest(self) -> str:
        """Name of this target in the queue."""
        return short_hash(["exec", *self.words], digits=16)

    @property
    def name(self) -> str:
        """For logs: without what may be secret in it."""
        return self.words[0]

    async def deliver(self, body: bytes) -> str | None:
        """Runs the command; returns why it has failed, or None if it succeeded.

        It has a process group of its own, which is killed at the limit, or where this is cancelled.
        """
        try:
            process = self._start(body)
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        try:
            return await _end(process)
        finally:
            if process.poll() is None:
                _kill(process)
            assert process.stderr
            process.stderr.close()

    def _start(self, body: bytes) -> subprocess.Popen[bytes]:
        # A file, as a command need not read its input, and may pass it on to what outlives it.
        with _scratch_file() as given:
            given.write(body)
            given.seek(0)
            return subprocess.Popen(
                self.words,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )


def _scratch_file() -> IO[bytes]:
    """File without a name: in memory, as a full disk may be what a command is told of, where the
    system has such files, which macOS has not."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("notification"), "w+b")
    return tempfile.TemporaryFile()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a command's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:  # it has become another user's, as with sudo
        log.warning(
            "a command cannot be killed, as it runs as another user: process %d", process.pid
        )
        return
    with suppress(subprocess.TimeoutExpired):  # it waits for a disk, perhaps for ever
        process.wait(_KILLED_SECONDS)


async def _end(process: subprocess.Popen[bytes]) -> str | None:
    """Waits for a command's end; returns why it has failed, or None."""
    assert process.stderr
    said = _Said(process.stderr.fileno())
    deadline = time.monotonic() + SECONDS
    # What it has left behind may have the pipe, too: its end is not waited for.
    while process.poll() is None:
        said.read()
        if said.count > MOST_SAID:
            return f"it wrote more than {MOST_SAID:,} bytes to standard error, and was killed"
        if time.monotonic() > deadline:
            return f"it did not end within {SECONDS:g} seconds, and was killed"
        await asyncio.sleep(_LOOK_SECONDS)
    if process.returncode == 0:
        return None
    said.read()
    text = said.last.decode("utf-8", "replace").strip()
    return f"exit code {process.returncode}" + (f": {error_line(text)}" if text else "")


class _Said:
    """Bytes that a command writes to a pipe: their number, and the last of them."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self.count = 0  # bytes
        self.last = b""

    def read(self) -> None:
        """Reads what is there, and not for long."""
        with suppress(BlockingIOError):
            for _ in range(_BLOCKS):
                block = os.read(self._pipe, _BLOCK)
                if not block:
                    return
                self.count += len(block)
                self.last = (self.last + block)[-_KEPT:]
