"""Output of the commands: to a terminal, a pipe that closes, a full disk, or nowhere at all.

Results are written or the command fails. Progress and messages are dropped if they cannot be
written, as no training may end for them.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from stn_cluster.display.console import UNWRITABLE, make_console
from stn_cluster.errors import UserError
from stn_cluster.plain_text import plain_lines

if TYPE_CHECKING:
    from rich.console import RenderableType


class ReaderGoneError(Exception):
    """The reader of standard output has exited, as in `stn-cluster table | head`."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Makes standard input, output and error usable within the block, whatever they are.

    Closed ones become /dev/null: otherwise, the next file to be opened would take their place, and
    get what a library prints. Characters that an encoding lacks are written as escapes. What
    libraries warn of cannot act on a terminal. At the end, what can no longer be written is
    dropped, as Python would exit with 120 for it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(opened, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    whole = warnings.formatwarning
    warnings.formatwarning = lambda *given, **more: plain_lines(whole(*given, **more))
    try:
        yield
    finally:
        warnings.formatwarning = whole
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except UNWRITABLE:
                with suppress(*UNWRITABLE):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write(text: str) -> None:
    """Writes a result to standard output.

    Raises:
        ReaderGoneError: nobody reads it any more.
        UserError: it cannot be written.
    """
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except UNWRITABLE as error:
        raise UserError(f"standard output: {getattr(error, 'strerror', None) or error}") from error


def say(text: str) -> None:
    """Writes lines for people to standard error, if they can be written; what is of others in them
    cannot act on a terminal."""
    with suppress(*UNWRITABLE):
        typer.echo(plain_lines(text), err=True)


def say_all(lines: Iterable[str]) -> None:
    """Says each of the lines."""
    for line in lines:
        say(line)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Says in a line each which results that are read within the block are outdated."""
    from stn_cluster.store import OutdatedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutdatedWarning)
        yield
    say_all(str(w.message) for w in caught if issubclass(w.category, OutdatedWarning))


def show(renderable: RenderableType) -> None:
    """Writes a table to standard output: as wide as a terminal, or whole in a pipe."""
    console = make_console(sys.stdout)
    with console.capture() as capture:
        console.print(renderable, markup=False)
    write(capture.get())
