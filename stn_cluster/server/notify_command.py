"""A command that is told of ended jobs and failed cells: JSON on its standard input."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, field

from stn_cluster.errors import UserError, error_line
from stn_cluster.grid import short_hash

SECONDS = 60.0  # for a run of the command
_BLOCK = 4096  # bytes; so much of what it says is kept


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

        It has a process group of its own, which is killed at the limit, and where this is cancelled.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self.words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        said = bytearray()
        telling = asyncio.create_task(_tell(process, body))
        reading = asyncio.create_task(_read(process, said))
        try:
            async with asyncio.timeout(SECONDS):
                code = await process.wait()
        except TimeoutError:
            return f"it did not end within {SECONDS:g} seconds, and was killed"
        else:
            if code == 0:
                return None
            # What it said last; not waited for, as something else may hold the pipe.
            await asyncio.wait([reading], timeout=1)
            text = said.decode("utf-8", "replace").strip()
            return f"exit code {code}" + (f": {error_line(text)}" if text else "")
        finally:
            telling.cancel()
            reading.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def _tell(process: asyncio.subprocess.Process, body: bytes) -> None:
    """Gives a process its input; it need not read it."""
    assert process.stdin
    with suppress(OSError):
        process.stdin.write(body)
        await process.stdin.drain()
        process.stdin.close()


async def _read(process: asyncio.subprocess.Process, said: bytearray) -> None:
    """Reads what a process says, and keeps the end of it."""
    assert process.stderr
    while block := await process.stderr.read(_BLOCK):
        said += block
        del said[:-_BLOCK]
