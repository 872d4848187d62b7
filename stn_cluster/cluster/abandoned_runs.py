"""Folders of runs that were killed: the next run removes them, and what still runs there.

A run's folder has a file that the run holds locked; if nobody holds it, the run is dead. Folders of
other users, and those of runs that live, are left alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "stn-"
WORK = "work"  # in a run's folder: the working folder of its processes
_MARK = "running"
_DAEMONS = (b"/gcs_server", b"/raylet")


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Marks a folder within the block as that of a run that lives."""
    descriptor = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(place: Path) -> None:
    """Removes the folders of this user's dead runs in a place, after ending what is left of their
    processes."""
    with suppress(OSError):
        for folder in place.resolve().glob(f"{PREFIX}*"):
            with suppress(OSError):
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(folder / _MARK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if the run lives
        for process in _processes(folder):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _processes(folder: Path) -> Iterator[int]:
    """Processes of the Ray whose files are in a folder: its daemons end with the run, but agents of
    theirs may stay."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            there = (process / "cwd").readlink() == folder / WORK
            program = (process / "cmdline").read_bytes().partition(b"\0")[0]
            if there and (program.startswith(b"ray::") or program.endswith(_DAEMONS)):
                yield int(process.name)
